"""Callbacks of a training run: validation, checkpoints, log, alarms."""

import itertools
import json
import math
import time
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from dml._storage.atomic import atomic_path, check_regular
from dml._storage.run_folder import StageFolder
from dml.errors import DataError, DivergenceError
from dml.reporting import Reporter, TrainingProgress
from dml.samplers import Coverage

COLLAPSE = (
    "the embeddings are collapsing: images of different classes have a mean similarity of "
    "{negative:.2f} and the batch an effective rank of {rank:.1f}. The usual remedies: a smaller "
    "learning rate, a warm-up epoch, for triplets mining = 'semi_hard' instead of 'hard'"
)


@dataclass
class TrainingState:
    """The progress of a training.

    Args:
        epoch: Number of finished epochs.
        best_epoch: The epoch with the highest validation score; 0 for the encoder before the first
            epoch, None without validation.
        best_score: Its R@1.
    """

    epoch: int = 0
    best_epoch: int | None = None
    best_score: float | None = None


class Checkpoint:
    """Saves and restores everything that a training needs to continue exactly as if uninterrupted.

    That is the learner's variables (weights, proxies, random states), the optimizer's, the epoch
    and the best epoch so far, in `epoch-NNNN.npz`, and the encoder of the best epoch in
    `best-NNNN.npz`. The last two of each are kept, so that a damaged one costs only an epoch. The
    batches are a function of seed and epoch and need no state.

    Args:
        folder: Of the run, or of a stage of it.
    """

    def __init__(self, folder: StageFolder):
        self.folder = folder

    def save(self, learner, state: TrainingState):
        """Writes the state after an epoch; earlier ones are kept until it is complete."""
        name = f"epoch-{state.epoch:04d}.npz"
        save_variables(self.folder.checkpoints / name, self.variables(learner), asdict(state))
        for pattern in ("epoch-*.npz", "best-*.npz"):
            for old in sorted(self.folder.checkpoints.glob(pattern), key=by_epoch)[:-2]:
                old.unlink()

    def save_best(self, variables, epoch):
        """Writes the variables of an epoch that is the best so far."""
        save_variables(self.best(epoch), variables, {"epoch": epoch})

    def load(self, learner, kept, reporter: Reporter) -> TrainingState | None:
        """Restores the last state that `save` wrote, or an earlier one if it is damaged.

        Args:
            learner: The compiled learner.
            kept: The variables that `save_best` was given.
            reporter: Receives a warning for each damaged file.

        Returns:
            The state passed to `save`; None if nothing was saved.

        Raises:
            DataError: The checkpoint does not fit the learner, each of them is damaged, or the
                encoder of the best epoch is.
        """
        for file, state, values in self._readable(reporter.warning):
            assign(self.variables(learner), values, file)
            for best in self.folder.checkpoints.glob("best-*.npz"):
                if by_epoch(best) > by_epoch(self.best(state.epoch)):
                    best.unlink()  # of an epoch that will be trained again
            self.check_best(kept, state, reporter)
            return state
        if any(self.folder.checkpoints.glob("epoch-*.npz")):
            raise DataError(
                self.folder.checkpoints,
                "no checkpoint can be read, so there is nothing to continue from. Train again into "
                "another folder, or remove this one",
            )
        return None

    def state(self) -> TrainingState:
        """Returns the last state that `save` wrote and that can be read.

        Raises:
            DataError: None can be read.
        """
        for _, state, _ in self._readable(lambda text: None):  # `load` has warned already
            return state
        raise DataError(self.folder.checkpoints, "no checkpoint can be read: train again")

    def _readable(self, warn: Callable[[str], None]) -> Iterator[tuple[Path, TrainingState, list]]:
        """Yields file, state and values of the checkpoints that can be read, the last one first.

        Args:
            warn: Called with what is wrong with another one.
        """
        files = self.folder.checkpoints.glob("epoch-*.npz")
        for file in sorted(files, key=by_epoch, reverse=True):
            try:
                fields, values = read_variables(file)
                state = TrainingState(**fields)
            except (DataError, TypeError) as error:
                warn(str(error))
                continue
            yield file, state, values

    def check_best(self, kept, state: TrainingState, reporter: Reporter):
        """Raises an error for a damaged file of the best epoch; a missing one is forgotten."""
        if state.best_epoch is None:
            return
        file = self.best(state.best_epoch)
        if not file.exists():
            reporter.warning(
                f"{file} is missing: epoch {state.best_epoch} was the best and is lost; what is "
                "kept is the best of those to come, or the last"
            )
            state.best_epoch = state.best_score = None
            return
        try:
            _, values = read_variables(file)
        except DataError as error:
            raise DataError(
                file,
                f"{error.text}. It holds epoch {state.best_epoch}, the best so far: restore it, or "
                "remove it to continue without that epoch",
            ) from None
        check_shapes(kept, values, file)

    def load_best(self, variables, epoch):
        """Restores the variables of the best epoch.

        Raises:
            DataError: They can't be read.
        """
        _, values = read_variables(self.best(epoch))
        assign(variables, values, self.best(epoch))

    def save_start(self, variables):
        """Writes the variables before the first epoch, which interpolation starts from."""
        save_variables(self.start, variables, {"epoch": 0})

    def read_start(self, variables):
        """Returns the values of the variables before the first epoch.

        Raises:
            DataError: They can't be read.
        """
        _, values = read_variables(self.start)
        check_shapes(variables, values, self.start)
        return values

    @property
    def start(self):
        """The path of the variables before the first epoch."""
        return self.folder.checkpoints / "start-0000.npz"

    def best(self, epoch):
        """Returns the path of an epoch's variables."""
        return self.folder.checkpoints / f"best-{epoch:04d}.npz"

    def variables(self, learner):
        learner.optimizer.build(learner.trainable_variables)
        return [*learner.variables, *learner.optimizer.variables]


def save_variables(path, variables, state):
    """Writes the values of variables, in their order, and a state of numbers, atomically."""
    values = {f"v{i}": to_numpy(v) for i, v in enumerate(variables)}
    with atomic_path(path) as temporary:
        np.savez(temporary, state=np.array(json.dumps(state)), **values)


def read_variables(path):
    """Returns the state and the values that `save_variables` wrote.

    Raises:
        DataError: The file is damaged.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            if damaged := file.testzip():  # before any size in it is trusted
                raise ValueError(f"{damaged} is damaged")
        with np.load(path) as arrays:
            state = json.loads(arrays["state"].item())
            values = [arrays[f"v{i}"] for i in range(len(arrays.files) - 1)]
        if any(type(value) not in (int, float, type(None)) for value in state.values()):
            raise ValueError(f"its state is {state}")
        if f"{state['epoch']:04d}" != path.stem.partition("-")[2]:
            raise ValueError(f"it holds epoch {state['epoch']}")
    except Exception as error:  # zipfile, NumPy and JSON fail in many ways on damaged files
        reason = str(error) or type(error).__name__
        raise DataError(path, f"the checkpoint can't be read ({reason})") from None
    return state, values


def check_shapes(variables, values, path):
    """Raises an error unless values have the shapes of the variables."""
    if [v.shape for v in values] != [tuple(v.shape) for v in variables]:
        raise DataError(path, "the checkpoint belongs to another recipe")


def assign(variables, values, path):
    """Assigns values to variables; `path` is where they come from, for the message."""
    check_shapes(variables, values, path)
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)


def by_epoch(file):
    """Returns the sort key of a file: the epoch in its name."""
    return len(file.name), file.name


def to_numpy(variable):
    return keras.ops.convert_to_numpy(variable.value)


class RunRecorder(keras.callbacks.Callback):
    """Validates after each epoch, writes log and checkpoint, and keeps the best weights.

    Of a learner that averages its weights, the average is validated and kept.

    Args:
        folder: Of the run, or of a stage of it.
        state: The progress of the training; it is kept up to date.
        kept: The variables that are saved of the best epoch.
        validate: Called without arguments; returns R@1 in validation. None without a validation
            split.
        validate_every: Epochs between two validations.
        epochs: Epochs of the whole training.
        reporter: Receives a line for each epoch.

    Attributes:
        coverage: Called with an epoch, from 0; returns its `dml.samplers.Coverage`. None leaves
            it out of the log.
    """

    def __init__(
        self,
        folder: StageFolder,
        state: TrainingState,
        kept: Sequence[Any],
        validate: Callable[[], float] | None,
        validate_every: int,
        epochs: int,
        reporter: Reporter,
    ):
        super().__init__()
        self.coverage: Callable[[int], Coverage] | None = None
        self.folder = folder
        self.state = state
        self.kept = kept
        self.validate = validate
        self.validate_every = validate_every
        self.epochs = epochs
        self.reporter = reporter
        self.checkpoint = Checkpoint(folder)
        self.warned = False

    def record_start(self):
        """Validates the encoder before the first epoch, which is a candidate for the best one."""
        if self.validate:
            started, row = time.monotonic(), {"epoch": 0}
            self._validate(row)
            row["seconds"] = round(time.monotonic() - started, 2)
            self.folder.append_log(row)
            self.reporter.info(epoch_line(row, self.epochs))

    def on_epoch_begin(self, epoch, logs=None):
        self.started = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        done = epoch + 1
        row = {"epoch": done, **{k: float(v) for k, v in (logs or {}).items()}}
        norm = getattr(self.model.optimizer, "gradient_norm", None)
        if norm is not None:
            row["gradient_norm"] = float(to_numpy(norm))
        if self.coverage is not None:
            seen = self.coverage(epoch)
            row.update(classes_seen=seen.classes, images_seen=seen.images, copies=seen.copies)
        row["seconds"] = round(time.monotonic() - self.started, 2)
        if self.validate and (done % self.validate_every == 0 or done == self.epochs):
            with self.model.averaged():
                self._validate(row)
        self.state.epoch = done
        self.folder.append_log(row)
        self.checkpoint.save(self.model, self.state)
        self.reporter.info(epoch_line(row, self.epochs))
        if not self.warned and collapsing(self.folder.read_log()):
            self.warned = True
            negative, rank = row["negative_similarity"], row["effective_rank"]
            self.reporter.warning(COLLAPSE.format(negative=negative, rank=rank))

    def _validate(self, row):
        """Adds the validation score to an epoch's row, and saves the variables if it is the best.

        Args:
            row: {name: number}, with the "epoch".
        """
        assert self.validate is not None
        row["val_recall_at_1"] = score = self.validate()
        if self.state.best_score is None or score > self.state.best_score:
            self.state.best_score, self.state.best_epoch = score, row["epoch"]
            self.checkpoint.save_best(self.kept, row["epoch"])


def collapsing(rows):
    """Returns whether the embeddings have collapsed to nearly one point, and stay so.

    Many networks start collapsed and recover within some epochs: in each of the last two epochs the
    embeddings must be close to one point and not move away from it.

    Args:
        rows: The log, one dictionary an epoch.
    """

    def close(row):
        return row.get("negative_similarity", 0.0) > 0.9 and row.get("effective_rank", 2.0) < 1.5

    def better(before, row):
        return row["negative_similarity"] < before.get("negative_similarity", 0.0) - 0.005

    last = [row for row in rows if "negative_similarity" in row][-3:]
    return (
        len(last) == 3
        and all(close(row) for row in last[1:])
        and not any(better(before, row) for before, row in itertools.pairwise(last))
    )


class StopAtNan(keras.callbacks.Callback):
    """Stops the training as soon as the loss is not finite; the last checkpoint is kept.

    Raises:
        DivergenceError: Names the epoch and step.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder
        self.epoch = 0

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if not math.isfinite(float((logs or {}).get("loss", 0.0))):
            kept = sorted(self.folder.checkpoints.glob("epoch-*.npz"), key=by_epoch)
            where = f"the last good checkpoint is {kept[-1]}" if kept else "no epoch was finished"
            raise DivergenceError(
                f"the loss is not finite at epoch {self.epoch + 1}, step {batch + 1}; {where}. "
                "Try a smaller learning rate or optimizer.clip_norm"
            )


def epoch_line(row, epochs):
    """Returns one epoch's metrics as a line of text."""
    text = f"epoch {row['epoch']:>3}/{epochs}"
    if "loss" in row:
        text += f"  loss {row['loss']:.4f}"
    if "val_recall_at_1" in row:
        text += f"  validation R@1 {100 * row['val_recall_at_1']:.1f}"
    if "loss" not in row:
        return f"{text}, before the training"
    same, other = row["positive_similarity"], row["negative_similarity"]
    text += f"  similarity {same:.2f} in a class, {other:.2f} across"
    return text + f"  rank {row['effective_rank']:.0f}  {row['seconds']:.0f} s"


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


class TensorBoardScalars(keras.callbacks.Callback):
    """Writes each epoch's metrics for TensorBoard, on any backend.

    Args:
        folder: The folder of the event file.
    """

    def __init__(self, folder):
        super().__init__()
        self.folder = folder

    def on_train_begin(self, logs=None):
        from tensorboard.summary import Writer

        self.writer = Writer(str(self.folder))

    def on_epoch_end(self, epoch, logs=None):
        for name, value in (logs or {}).items():
            self.writer.add_scalar(name, float(value), step=epoch + 1)
        self.writer.flush()

    def on_train_end(self, logs=None):
        self.writer.close()
