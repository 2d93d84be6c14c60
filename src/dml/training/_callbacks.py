"""Callbacks of a training run: validation, checkpoints, log, alarms."""

import contextlib
import functools
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

from dml._devices import placed, whole
from dml._storage.atomic import atomic_path, check_regular
from dml._storage.run_folder import StageFolder
from dml._text import number_of
from dml.errors import DataError, DivergenceError
from dml.reporting import Reporter, TrainingProgress
from dml.samplers import Coverage
from dml.training._stopwatch import Stopwatch

COLLAPSE = (
    "the embeddings are collapsing: images of different classes have a mean similarity of "
    "{negative:.2f} and the batch an effective rank of {rank:.1f}. The usual remedies: a smaller "
    "learning rate, a warm-up epoch, for triplets mining = 'semi_hard' instead of 'hard'"
)
WAITING = "hint: {share:.0f} % of the time was spent waiting for images; try {remedy}"
LEAST_WAITING = 5.0  # seconds in an epoch; less is not worth a line


@dataclass
class TrainingState:
    """The progress of a training.

    Args:
        epoch: Number of finished epochs, with the share of the one in which the training stopped.
        best_epoch: The epoch with the highest validation score, with the share of one that was not
            finished; 0 for the encoder before the first epoch, None without validation.
        best_score: Its R@1.
        since_best: Validations after that one.
    """

    epoch: float = 0
    best_epoch: float | None = None
    best_score: float | None = None
    since_best: int = 0


class Checkpoint:
    """Saves and restores everything that a training needs to continue exactly as if uninterrupted.

    That is the learner's variables (weights, proxies, random states), the optimizer's, the epoch
    and the best epoch so far, in `epoch-NNNN.npz`, and the encoder of the best epoch in
    `best-NNNN.npz`. The last two states are kept, so that a damaged one costs only an epoch, and
    the best encoder of each. The batches are a function of seed and epoch and need no state.

    Args:
        folder: Of the run, or of a stage of it.
    """

    def __init__(self, folder: StageFolder):
        self.folder = folder

    def save(self, learner, state: TrainingState):
        """Writes the state after an epoch; earlier ones are kept until it is complete."""
        name = f"epoch-{numbered(state.epoch)}.npz"
        save_variables(self.folder.checkpoints / name, self.variables(learner), asdict(state))
        states, best = (
            sorted(self.folder.checkpoints.glob(pattern), key=by_epoch)
            for pattern in ("epoch-*.npz", "best-*.npz")
        )
        kept = states[-2:]
        for last in states[-2:]:
            kept += [file for file in best if by_epoch(file) <= by_epoch(last)][-1:]
        for old in {*states, *best}.difference(kept):
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
                f"{file} is missing: epoch {state.best_epoch:g} was the best and is lost; what is "
                "kept is the best of those to come, or the last"
            )
            state.best_epoch, state.best_score, state.since_best = None, None, 0
            return
        try:
            _, values = read_variables(file)
        except DataError as error:
            raise DataError(
                file,
                f"{error.text}. It holds epoch {state.best_epoch:g}, the best so far: restore it, "
                "or remove it to continue without that epoch",
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
        return self.folder.checkpoints / f"best-{numbered(epoch)}.npz"

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
        if numbered(state["epoch"]) != path.stem.partition("-")[2]:
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
        variable.assign(placed(value, variable))


def numbered(epoch):
    """Returns an epoch as it stands in the name of a file; a float ends within an epoch."""
    return f"{epoch:04d}" if isinstance(epoch, int) else f"{epoch:09.4f}"


def by_epoch(file):
    """Returns the sort key of a file: the epoch in its name."""
    number = file.stem.partition("-")[2]
    return len(number.partition(".")[0]), number


def to_numpy(variable):
    """Returns the values of a variable; all of several processes must call it."""
    value = whole(variable.value)
    return value.astype("float32") if value.dtype.name == "bfloat16" else value  # unknown to NumPy


class RunRecorder(keras.callbacks.Callback):
    """Validates, writes log and checkpoints, keeps the best weights, and stops a training early.

    Of a learner that averages its weights, the average is validated and kept.

    Args:
        folder: Of the run, or of a stage of it.
        state: The progress of the training; it is kept up to date.
        kept: The variables that are saved of the best epoch.
        validate: Called without arguments; returns R@1 in validation. None without a validation
            split.
        validate_every: Epochs between two validations; less than 1 for several in an epoch.
        patience: Validations without a better score after which the training stops; 0 for never.
        epochs: Epochs of the whole training.
        steps: Batches in an epoch.
        stopwatch: Measures the time of the training.
        reporter: Receives a line for each validation and epoch.
        progress: Paused for a validation within an epoch.
        remedy: What to try where most of an epoch is spent waiting for data; empty to not say it.

    Attributes:
        coverage: Called with an epoch, from 0; returns its `dml.samplers.Coverage`. None leaves
            it out of the log.
        receivers: Called with each row of the log.
    """

    def __init__(
        self,
        folder: StageFolder,
        state: TrainingState,
        kept: Sequence[Any],
        validate: Callable[[], float] | None,
        validate_every: float,
        patience: int,
        epochs: int,
        steps: int,
        stopwatch: Stopwatch,
        reporter: Reporter,
        progress: TrainingProgress,
        remedy: str = "",
    ):
        super().__init__()
        self.coverage: Callable[[int], Coverage] | None = None
        self.receivers: list[Callable[[dict[str, float]], None]] = []
        self.folder = folder
        self.state = state
        self.kept = kept
        self.validate = validate
        self.validate_every = validate_every
        self.patience = patience
        self.epochs = epochs
        self.steps = steps
        self.stopwatch = stopwatch
        self.reporter = reporter
        self.progress = progress
        self.remedy = remedy
        self.checkpoint = Checkpoint(folder)
        self.warned = False
        self.epoch = 0
        self.last_row: dict[str, float] | None = None

    @property
    def stopped(self) -> bool:
        """Whether there were too many validations without a better score."""
        return 0 < self.patience <= self.state.since_best

    @property
    def why_stopped(self) -> str:
        """A line on an early stop."""
        best = 100 * (self.state.best_score or 0.0)
        return (
            f"stopped early after epoch {self.state.epoch:g}: "
            f"{number_of(self.state.since_best, 'validation')} without a better R@1 than the "
            f"{best:.1f} of epoch {self.state.best_epoch:g}"
        )

    def record_start(self):
        """Validates the encoder before the first epoch, which is a candidate for the best one."""
        if self.validate:
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
        is_due = done < self.steps and self._is_due(self.epoch * self.steps + done)
        if self.validate and is_due:
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
            is_due = self._is_due((epoch + 1) * self.steps) or epoch + 1 == self.epochs
            if self.validate and is_due:
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
        self._warn(row)

    def _is_due(self, batches):
        """Returns whether a validation follows so many batches after the start of the training."""
        now, before = (
            int(n / self.steps / self.validate_every + 1e-9) for n in (batches, batches - 1)
        )
        return now > before

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
        assert self.validate is not None
        with self.stopwatch.validating():
            row["val_recall_at_1"] = score = self.validate()
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

    def _warn(self, row):
        """Says once each what goes wrong in an epoch, and what may help."""
        if not self.warned and collapsing(self.folder.read_log()):
            self.warned = True
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


class TensorBoardScalars(contextlib.AbstractContextManager):
    """Writes the rows of a log for TensorBoard, on any backend, until its context ends.

    Args:
        folder: The folder of the event file, which the first row creates.
        steps: Batches in an epoch.
    """

    def __init__(self, folder: Path, steps: int):
        self.folder = folder
        self.steps = steps

    def write(self, row: dict[str, float]) -> None:
        """Writes the numbers of a row, over the batches that were trained on."""
        step = round(row["epoch"] * self.steps)
        if "_writer" not in vars(self):
            self._begin(step)
        for name, value in row.items():
            self._writer.add_scalar(name, float(value), step=step)
        self._writer.flush()

    def _begin(self, step):
        """Lets TensorBoard forget, where a training goes on, what it was told from a step on."""
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        writer = EventFileWriter(str(self.folder))
        start = SessionLog(status=SessionLog.START)
        writer.add_event(Event(step=step, wall_time=time.time(), session_log=start))
        writer.close()

    @functools.cached_property
    def _writer(self):
        from tensorboard.summary import Writer

        return Writer(str(self.folder))

    def __exit__(self, *error):
        if "_writer" in vars(self):
            self._writer.close()
