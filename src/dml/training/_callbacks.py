"""Callbacks of a training run: validation, checkpoints, the log, the progress that is shown."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from dml._storage.run_folder import StageFolder
from dml._text import number_of
from dml.reporting import Reporter, TrainingProgress
from dml.samplers import Coverage
from dml.training._checkpoint import Checkpoint, TrainingState, to_numpy
from dml.training._stopwatch import Stopwatch, Waiting


@dataclass(frozen=True)
class Validation:
    """How a training is validated, and when it stops for want of a better score.

    Args:
        score: Returns R@1 in validation.
        every: Epochs between two validations; less than 1 for several in an epoch. The last epoch
            is always validated.
        patience: Validations without a better score after which the training stops; 0 for never.
    """

    score: Callable[[], float]
    every: float
    patience: int


class RunRecorder(keras.callbacks.Callback):
    """Validates, writes log and checkpoints, keeps the best weights, and stops a training early.

    Of a learner that averages its weights, the average is validated and kept.

    Args:
        folder: The folder of the run, or of a stage of it.
        state: The progress of the training; it is kept up to date.
        kept: The variables that are saved of the best epoch.
        validation: None without a validation split.
        epochs: Epochs of the whole training.
        steps: Batches in an epoch.
        stopwatch: Measures the time of the training.
        reporter: Receives a line for each validation and epoch.
        progress: Paused for a validation within an epoch.
        receivers: Called with each row of the log.
    """

    def __init__(
        self,
        folder: StageFolder,
        state: TrainingState,
        kept: Sequence[Any],
        validation: Validation | None,
        epochs: int,
        steps: int,
        stopwatch: Stopwatch,
        reporter: Reporter,
        progress: TrainingProgress,
        receivers: Sequence[Callable[[dict[str, float]], None]] = (),
    ):
        super().__init__()
        self.folder = folder
        self.state = state
        self.kept = kept
        self.validation = validation
        self.epochs = epochs
        self.steps = steps
        self.stopwatch = stopwatch
        self.reporter = reporter
        self.progress = progress
        self.receivers = receivers
        self.checkpoint = Checkpoint(folder)
        self.coverage: Callable[[int], Coverage] | None = None
        self.epoch = 0
        self.last_row: dict[str, float] | None = None

    @property
    def stopped(self) -> bool:
        """Whether there were too many validations without a better score."""
        patience = self.validation.patience if self.validation else 0
        return 0 < patience <= self.state.since_best

    @property
    def why_stopped(self) -> str:
        """A line on an early stop."""
        best = 100 * (self.state.best_score or 0.0)
        return (
            f"stopped early after epoch {self.state.epoch:g}: "
            f"{number_of(self.state.since_best, 'validation')} without a better R@1 than the "
            f"{best:.1f} of epoch {self.state.best_epoch:g}"
        )

    def follow(self, waiting: Waiting, coverage: Callable[[int], Coverage]) -> None:
        """Tells about the batches of the next epochs.

        Args:
            waiting: Measures how long the training waits for them.
            coverage: Called with an epoch, from 0; returns what its batches contain.
        """
        self.stopwatch.waiting, self.coverage = waiting, coverage

    def record_start(self):
        """Validates the encoder before the first epoch, which is a candidate for the best one."""
        if self.validation:
            self.stopwatch.restart()
            row: dict[str, float] = {"epoch": 0}
            self._validate(row)
            self._record(row)
            self._report(row)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch, self.last_row = epoch, None
        self.stopwatch.restart()

    def on_train_batch_begin(self, batch, logs=None):
        self.stopwatch.waiting.step_began()

    def on_train_batch_end(self, batch, logs=None):
        self.stopwatch.waiting.step_ended()
        self.stopwatch.step_ended()
        done = batch + 1
        if done < self.steps and self._is_due(self.epoch * self.steps + done):
            self._validate_within(round(self.epoch + done / self.steps, 4))

    def on_epoch_end(self, epoch, logs=None):
        row: dict[str, float] = {"epoch": epoch + 1}
        row.update({name: float(value) for name, value in (logs or {}).items()})
        norm = getattr(self.model.optimizer, "gradient_norm", None)
        if norm is not None:
            row["gradient_norm"] = float(to_numpy(norm))
        if self.last_row is not None:  # the validation after which it stopped
            row.update(self.last_row)
        else:
            if self.coverage is not None:
                seen = self.coverage(epoch)
                row.update(classes_seen=seen.classes, images_seen=seen.images, copies=seen.copies)
            if self._is_due((epoch + 1) * self.steps):
                with self.model.averaged():
                    self._validate(row)
        self.state.epoch = row["epoch"]
        stops = self.stopped and row["epoch"] < self.epochs
        if stops:
            row["stopped"] = 1
            self.model.stop_training = True
        self._record(row)
        self.checkpoint.save(self.model, self.state)
        self._report(row)
        if stops:
            self.reporter.info(self.why_stopped)

    def _is_due(self, batches):
        """Returns whether a validation follows so many batches after the start of the training."""
        if self.validation is None:
            return False
        every = self.validation.every
        now, before = (int(n / self.steps / every + 1e-9) for n in (batches, batches - 1))
        return now > before or batches == self.epochs * self.steps

    def _validate_within(self, epoch):
        """Validates within an epoch, after a share of it; the training may stop there."""
        row: dict[str, float] = {"epoch": epoch}
        with self.progress.paused(), self.model.between_steps():
            with self.model.averaged():
                self._validate(row)
            if self.stopped:
                self.last_row, self.model.stop_training = row, True
            else:
                self._record(row)
                self._report(row)

    def _validate(self, row):
        """Adds the validation score to a row, and saves the variables if it is the best.

        Args:
            row: {name: number}, with the "epoch".
        """
        assert self.validation is not None
        with self.stopwatch.validating():
            row["val_recall_at_1"] = score = self.validation.score()
        self.state.since_best += 1
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score, self.state.best_epoch = score, row["epoch"]
            self.state.since_best = 0
            self.checkpoint.save_best(self.kept, row["epoch"])

    def _record(self, row):
        """Adds the times to a row, and writes it."""
        row.update(self.stopwatch.row())
        self.folder.append_log(row)
        for receive in self.receivers:
            receive(row)

    def _report(self, row):
        self.reporter.info(epoch_line(row, self.epochs))


def epoch_line(row, epochs):
    """Returns one epoch's metrics as a line of text."""
    text = f"epoch {row['epoch']:>3g}/{epochs}"
    if "loss" in row:
        text += f"  loss {row['loss']:.4f}"
    if "val_recall_at_1" in row:
        text += f"  validation R@1 {100 * row['val_recall_at_1']:.1f}"
    if not row["epoch"]:
        return f"{text}, before the training"
    if "loss" in row:
        same, other = row["positive_similarity"], row["negative_similarity"]
        text += f"  similarity {same:.2f} in a class, {other:.2f} across"
        text += f"  rank {row['effective_rank']:.0f}"
    text += f"  {row['seconds']:.0f} s"
    if "images_per_second" in row:
        text += f", {row['images_per_second']:,.0f} images/s"
        waiting, steps = row["waiting_seconds"], row["step_seconds"]
        if waiting > 0.1 * steps:
            text += f", {100 * waiting / (waiting + steps):.0f} % of it waiting for data"
    return text


class ProgressBars(keras.callbacks.Callback):
    """Shows the progress of a training.

    Args:
        progress: The object that shows it.
    """

    def __init__(self, progress: TrainingProgress):
        super().__init__()
        self.progress = progress

    def on_epoch_begin(self, epoch, logs=None):
        self.progress.epoch_began(epoch)

    def on_train_batch_end(self, batch, logs=None):
        self.progress.batch_ended(batch)

    def on_epoch_end(self, epoch, logs=None):
        self.progress.epoch_ended()
