"""Checkpoints: what a training needs to continue exactly as if it had not stopped."""

import json
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from dml._devices import placed, whole
from dml._storage.atomic import atomic_path, check_regular
from dml._storage.run_folder import StageFolder
from dml.errors import DataError
from dml.reporting import Reporter


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
        folder: The folder of the run, or of a stage of it.
    """

    def __init__(self, folder: StageFolder):
        self.folder = folder

    def save(self, learner, state: TrainingState):
        """Writes the state after an epoch; earlier ones are kept until it is complete."""
        name = f"epoch-{numbered(state.epoch)}.npz"
        save_variables(self.folder.checkpoints / name, self.variables(learner), asdict(state))
        states, best = self.states(), self._files("best")
        kept = states[-2:]
        for last in states[-2:]:
            kept += [file for file in best if by_epoch(file) <= by_epoch(last)][-1:]
        for old in {*states, *best}.difference(kept):
            old.unlink()

    def states(self) -> list[Path]:
        """Returns the files that `save` wrote and that are kept, by epoch."""
        return self._files("epoch")

    def _files(self, kind) -> list[Path]:
        return sorted(self.folder.checkpoints.glob(f"{kind}-*.npz"), key=by_epoch)

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
            for best in self._files("best"):
                if by_epoch(best) > by_epoch(self.best(state.epoch)):
                    best.unlink()  # of an epoch that will be trained again
            self.check_best(kept, state, reporter)
            return state
        if self.states():
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
        for file in reversed(self.states()):
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


def numbered(epoch: float) -> str:
    """Returns an epoch as it stands in the name of a file, such as 0004; within one, 0003.2500."""
    return f"{epoch:09.4f}".removesuffix(".0000")


def by_epoch(file):
    """Returns the sort key of a file: the epoch in its name."""
    number = file.stem.partition("-")[2]
    return len(number.partition(".")[0]), number


def to_numpy(variable):
    """Returns the values of a variable; all of several processes must call it."""
    value = whole(variable.value)
    return value.astype("float32") if value.dtype.name == "bfloat16" else value  # unknown to NumPy
