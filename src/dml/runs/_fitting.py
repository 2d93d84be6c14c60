"""Fits one stage of a training, epoch by epoch, with validation, log and checkpoints."""

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dml._storage.run_folder import StageFolder
from dml.reporting import Reporter

if TYPE_CHECKING:
    from dml.training import Learner
    from dml.training._checkpoint import TrainingState


@dataclass(frozen=True, eq=False)
class Stage:
    """What one stage of a training fits.

    Args:
        folder: Where its log and checkpoints are written.
        learner: The compiled learner.
        kept: The variables that are kept of the best epoch.
        epochs: Number of epochs.
        steps: Batches per epoch.
        batch_size: Images in a batch.
        labels: Integers (N,) of the training images.
        batches: Called with the first epoch, from 0, and the class vectors; returns batches like
            `dml.training.training_batches`.
        sampler: The sampler's name.
        class_vectors: Returns the position of each class, floats (classes, D), for samplers that
            need it before each epoch; None for others.
        validate: Returns R@1 in validation; None without a validation split.
        validate_every: Epochs between two validations; less than 1 for several in an epoch.
        patience: Validations without a better score after which the training stops; 0 for never.
        tensorboard: The folder of the event file.
        remedy: What to try where most of the time is spent waiting for data; empty to not say it.
        trackers: Contexts with a method `write`, which is called with each row of the log.
    """

    folder: StageFolder
    learner: "Learner"
    kept: Sequence[Any]
    epochs: int
    steps: int
    batch_size: int
    labels: np.ndarray
    batches: Callable[[int, np.ndarray | None], Any]
    sampler: str
    class_vectors: Callable[[], np.ndarray] | None
    validate: Callable[[], float] | None
    validate_every: float
    patience: int
    tensorboard: Path
    remedy: str = ""
    trackers: Sequence[Any] = ()

    @property
    def has_begun(self) -> bool:
        """Whether an epoch was finished."""
        return any(self.folder.checkpoints.glob("epoch-*.npz"))


def fit(stage: Stage, reporter: Reporter) -> "TrainingState":
    """Trains the remaining epochs of a stage and returns its state.

    Raises:
        DataError: No checkpoint can be read.
        DivergenceError: The loss is not finite; the last checkpoint is kept.
    """
    from dml.training._alarms import StopAtNan, Warnings
    from dml.training._callbacks import ProgressBars, RunRecorder, Validation
    from dml.training._checkpoint import Checkpoint, TrainingState
    from dml.training._stopwatch import Stopwatch
    from dml.training._tensorboard import TensorBoardScalars

    checkpoint = Checkpoint(stage.folder)
    state = checkpoint.load(stage.learner, stage.kept, reporter)
    begins = state is None
    state = state or TrainingState()
    first_epoch = int(state.epoch)
    bars = reporter.training(stage.epochs, stage.steps, stage.batch_size, first_epoch)
    validation = None
    if stage.validate:
        validation = Validation(stage.validate, stage.validate_every, stage.patience)
    unreadable = {}
    with contextlib.ExitStack() as stack:
        trackers = TensorBoardScalars(stage.tensorboard, stage.steps), *stage.trackers
        recorder = RunRecorder(
            stage.folder,
            state,
            stage.kept,
            validation,
            epochs=stage.epochs,
            steps=stage.steps,
            stopwatch=Stopwatch(stage.batch_size),
            reporter=reporter,
            progress=bars,
            receivers=[stack.enter_context(tracker).write for tracker in trackers],
        )
        if begins:
            stage.folder.trim_log(-1)
            checkpoint.save_start(stage.kept)
            recorder.record_start()
        else:
            stopped = recorder.stopped and state.epoch < stage.epochs
            reporter.info(
                recorder.why_stopped if stopped else f"resuming after epoch {state.epoch:g}"
            )
            stage.folder.trim_log(state.epoch)
            _report_gaps(stage.folder, first_epoch, reporter)
        # The bars first: they must be hidden when the recorder prints.
        warnings = Warnings(stage.folder, reporter, stage.remedy)
        callbacks = [ProgressBars(bars), StopAtNan(stage.folder), recorder, warnings]
        for first, end in _spans(first_epoch, stage.epochs, stage.class_vectors is not None):
            if recorder.stopped:
                break
            vectors = stage.class_vectors() if stage.class_vectors and first else None
            batches = stage.batches(first, vectors)
            coverage_of = _coverage_of(batches, stage.labels)
            recorder.follow(batches.waiting, coverage_of)
            if first == first_epoch:
                reporter.info(f"sampler {stage.sampler}: {coverage_of(first)}")
            with bars, batches.named_errors():
                stage.learner.fit(
                    batches,
                    steps_per_epoch=stage.steps,
                    initial_epoch=first,
                    epochs=end,
                    callbacks=callbacks,
                    shuffle=False,
                    verbose=0,
                )
            unreadable.update(batches.unreadable)
    for reason in unreadable.values():
        reporter.info(f"left out of the training: {reason}")
    return state


def _report_gaps(folder: StageFolder, epochs: int, reporter: Reporter):
    """Reports the epochs whose lines are missing in the log."""
    logged = {row["epoch"] for row in folder.read_log()}
    if lost := sorted(set(range(1, epochs + 1)) - logged):
        more = f" and {len(lost) - 1} more" if lost[1:] else ""
        reporter.warning(f"{folder.log}: the line of epoch {lost[0]}{more} can't be read")


def _spans(first: int, end: int, each_epoch: bool) -> list[tuple[int, int]]:
    """Returns the ranges (first, end) of epochs that are trained on one stream of batches.

    There are none if all are trained. Batches that depend on the current weights must restart with
    each epoch, and not be read ahead.
    """
    if each_epoch:
        return [(epoch, epoch + 1) for epoch in range(first, end)]
    return [(first, end)] if first < end else []


def _coverage_of(batches, labels: np.ndarray):
    """Returns a function from an epoch to its `dml.samplers.Coverage`."""
    from dml.samplers import coverage

    return lambda epoch: coverage(batches.epoch_rows(epoch), labels)
