"""Alarms of a training: a loss that is not finite, embeddings that collapse, waiting for images."""

import itertools
import math

import keras

from dml._storage.run_folder import StageFolder
from dml.errors import DivergenceError
from dml.reporting import Reporter
from dml.training._checkpoint import Checkpoint

COLLAPSE = (
    "the embeddings are collapsing: images of different classes have a mean similarity of "
    "{negative:.2f} and the batch an effective rank of {rank:.1f}. The usual remedies: a smaller "
    "learning rate, a warm-up epoch, for triplets mining = 'semi_hard' instead of 'hard'"
)
WAITING = "hint: {share:.0f} % of the time was spent waiting for images; try {remedy}"
LEAST_WAITING = 5.0  # seconds in an epoch; less is not worth a line


class StopAtNan(keras.callbacks.Callback):
    """Stops the training as soon as the loss is not finite; the last checkpoint is kept.

    Raises:
        DivergenceError: Names the epoch and step.
    """

    def __init__(self, folder: StageFolder):
        super().__init__()
        self.folder = folder
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            kept = Checkpoint(self.folder).states()
            where = f"the last good checkpoint is {kept[-1]}" if kept else "no epoch was finished"
            raise DivergenceError(
                f"the loss is not finite at epoch {self.epoch + 1}, step {batch + 1}; {where}. "
                "Try a smaller learning rate or optimizer.clip_norm"
            )


class Warnings(keras.callbacks.Callback):
    """Says, once each, what goes wrong in the epochs of a log, and what may help.

    Comes after the `RunRecorder`, which writes the log.

    Args:
        folder: The folder of the run, or of a stage of it.
        reporter: Receives the warnings.
        remedy: What to try where most of an epoch is spent waiting for data; empty to not say it.
    """

    def __init__(self, folder: StageFolder, reporter: Reporter, remedy: str = ""):
        super().__init__()
        self.folder = folder
        self.reporter = reporter
        self.remedy = remedy
        self.collapsed = False

    def on_epoch_end(self, epoch, logs=None):
        rows = self.folder.read_log()
        row = rows[-1]
        if not self.collapsed and collapsing(rows):
            self.collapsed = True
            negative, rank = row["negative_similarity"], row["effective_rank"]
            self.reporter.warning(COLLAPSE.format(negative=negative, rank=rank))
        waiting, steps = row.get("waiting_seconds", 0.0), row.get("step_seconds", 0.0)
        if self.remedy and waiting > max(steps, LEAST_WAITING):
            share = 100 * waiting / (waiting + steps)
            self.reporter.info(WAITING.format(share=share, remedy=self.remedy))
            self.remedy = ""


def collapsing(rows):
    """Returns whether the embeddings have collapsed to nearly one point, and stay so.

    Many networks start collapsed and recover within some epochs: in each of the last two epochs the
    embeddings must be close to one point, or all zero, and not move away from it.

    Args:
        rows: The log, one dictionary an epoch.
    """

    def close(row):
        rank = row.get("effective_rank", 2.0)
        return rank < 0.5 or (rank < 1.5 and row.get("negative_similarity", 0.0) > 0.9)

    def better(before, row):
        return row["negative_similarity"] < before.get("negative_similarity", 0.0) - 0.005

    last = [row for row in rows if "negative_similarity" in row][-3:]
    return (
        len(last) == 3
        and all(close(row) for row in last[1:])
        and not any(better(before, row) for before, row in itertools.pairwise(last))
    )
