"""Training one trial of a study."""

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dml._console.memory import shortage
from dml._storage.locks import locked
from dml._storage.run_folder import RunFolder
from dml._storage.unfinished import LOCK
from dml.datasets import RecordedItems
from dml.errors import BusyError, DivergenceError, OptionError
from dml.recipe import Recipe, with_options
from dml.reporting import Reporter, TrainingProgress
from dml.runs import Trainer
from dml.runs._validation import validation_curve, validation_score
from dml.tuning._limits import Limits
from dml.tuning._space import varied
from dml.tuning._trials import Trial

if TYPE_CHECKING:  # loads Optuna
    from dml.tuning._store import OpenTrial

_PAUSE = 1.0  # seconds between two attempts


def train(
    recipe: Recipe,
    opened: "OpenTrial",
    run: RunFolder,
    recorded: RecordedItems,
    features: Path,
    limits: Limits,
    reporter: Reporter,
) -> Trial:
    """Trains a trial, or continues it, and ends it unless the time is over.

    Args:
        recipe: The study's.
        opened: The trial.
        run: The folder of its run.
        recorded: Training and validation images.
        features: The folder of the features that all trials share.
        limits: Whether the time is over is asked after each epoch.
        reporter: Shows the progress.

    Raises:
        DmlError: It can't be trained, for a reason that other trials share.
    """
    rows = [row for stage in run.stages for row in stage.read_log()]  # of an earlier attempt
    earlier = sum(row.get("seconds", 0.0) for row in rows)
    started = time.monotonic()
    state, reason = "complete", ""
    watched = TrialReporter(reporter, lambda: _watch(run, opened, limits))
    try:
        fit(varied(recipe, opened.options), run, recorded, features, limits, watched)
    except Stopped as stopped:
        state = stopped.state
    except Exception as error:
        reason = _reason(error, opened.own)
        if not reason:
            raise
        state = "failed"
    curve, score = validation_curve(run), None
    if state == "complete":
        score = validation_score(run, varied(recipe, opened.options).training)
    trial = Trial(
        number=opened.number,
        stage=opened.stage,
        own=opened.own,
        state=state,
        options=opened.options,
        score=max(curve, default=None) if score is None else score,
        seconds=round(earlier + time.monotonic() - started, 1),
        reason=reason,
        run=run.path,
    )
    if state != "interrupted":
        opened.report(curve)
        opened.finish(trial)
        run.remove_checkpoints()
    gc.collect()  # models hold references to themselves
    return trial


def fit(
    recipe: Recipe,
    run: RunFolder,
    recorded: RecordedItems,
    features: Path,
    limits: Limits,
    reporter: Reporter,
) -> None:
    """Trains a run, or continues it, without a refit: runs are compared in validation.

    Args:
        recipe: The recipe of the run.
        run: Its folder.
        recorded: As for `train`, like the next two.
        features: The folder of the features.
        limits: Asked while another process computes the features, or trains the run.
        reporter: The reporter of the training.

    Raises:
        Stopped: The time is over.
        DmlError: It can't be trained.
    """
    while True:
        try:
            if run.recipe.exists():
                Trainer._resume(
                    run.path,
                    allow_parts=True,
                    evaluate=False,
                    reporter=reporter,
                    features=features,
                )
            else:
                trainer = Trainer(with_options(recipe, {"training.refit": False}), reporter)
                trainer._run(run.path, evaluate=False, recorded=recorded, features=features)
            return
        except BusyError:
            held = _held(features)
            wait(limits)
            while held and held <= _held(features):  # each attempt builds a network
                wait(limits)


def _held(features: Path) -> set[Path]:
    """Returns the locks of the features that processes compute."""
    held = set()
    for lock in features.glob(f"*/*/{LOCK}"):
        try:
            with locked(lock, features):
                pass
        except BusyError:
            held.add(lock)
    return held


def _watch(run: RunFolder, opened: "OpenTrial", limits: Limits) -> None:
    """Stops a trial that should be pruned, or whose time is over; called between epochs."""
    if opened.report(validation_curve(run)):
        raise Stopped("pruned")
    if limits.over():
        raise Stopped("interrupted")


def wait(limits: Limits) -> None:
    """Waits a moment, unless the time is over."""
    if limits.over():
        raise Stopped("interrupted")
    time.sleep(_PAUSE)


class Stopped(Exception):
    """Stops a training between two epochs.

    Args:
        state: The trial's.
    """

    def __init__(self, state: str):
        super().__init__(state)
        self.state = state


def _reason(error: Exception, own: bool) -> str:
    """Returns why a trial failed; empty for an error that other trials share.

    Args:
        error: What it raised.
        own: Whether the options are the recipe's own.
    """
    if (reported := shortage(error)) is not None:
        return f"not enough memory: {reported}"
    if isinstance(error, DivergenceError) or (isinstance(error, OptionError) and not own):
        return str(error)
    return ""


class TrialReporter(Reporter):
    """Shows the progress of a trial, and watches its epochs; the table has the rest.

    Args:
        reporter: Shows it.
        watch: Called before each epoch.
    """

    def __init__(self, reporter: Reporter, watch: Callable[[], None]):
        self._reporter, self._watch = reporter, watch

    def progress(self, title: str, total: int, unit: str = "images", done: int = 0):
        return self._reporter.progress(title, total, unit, done)

    def training(self, epochs: int, steps: int, batch_size: int, done: int) -> TrainingProgress:
        return _Watched(self._reporter.training(epochs, steps, batch_size, done), self._watch)


@dataclass
class _Watched(TrainingProgress):
    """The progress of a training, with a function that is called before each epoch."""

    progress: TrainingProgress
    watch: Callable[[], None]

    def epoch_began(self, epoch: int) -> None:
        self.watch()
        self.progress.epoch_began(epoch)

    def batch_ended(self, batch: int) -> None:
        self.progress.batch_ended(batch)

    def epoch_ended(self) -> None:
        self.progress.epoch_ended()

    def paused(self):
        return self.progress.paused()
