"""Experiment trackers, which receive each row of the log of a training."""

import contextlib
import importlib.util
import os
import secrets
import tomllib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from dml._storage.atomic import write_text
from dml.errors import OptionError, PackageError
from dml.reporting import Reporter


def check_trackers(trackers: Sequence[str]) -> None:
    """Raises PackageError for a tracker whose package is missing.

    Args:
        trackers: As `training.trackers`.
    """
    for name in trackers:
        if importlib.util.find_spec(name) is None:
            raise PackageError(
                f"training.trackers needs the package {name}: pip install 'dml[{name}]'"
            )


class WandbTracker(contextlib.AbstractContextManager):
    """Sends the rows of a log to a run of Weights & Biases, until its context ends.

    The run begins with the first row; its address and its mode are those of W&B's own environment
    variables. A training that is resumed goes on with W&B's run, whose name is kept in the folder.

    Args:
        folder: The folder of a run or of a stage of it, whose path names W&B's run.
        group: The run's name.
        recipe: The run's recipe, as TOML.
        reporter: Receives the address.
    """

    def __init__(self, folder: Path, group: str, recipe: str, reporter: Reporter):
        self._folder = folder
        self._group = group
        self._recipe = recipe
        self._reporter = reporter

    def write(self, row: dict[str, float]) -> None:
        """Sends a row."""
        self._run.log(row)

    @cached_property
    def _run(self):
        import wandb

        self._folder.mkdir(parents=True, exist_ok=True)
        try:
            run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", "dml"),
                group=self._group,
                name=self._folder.name,
                id=self._id(),
                resume="allow",
                config=tomllib.loads(self._recipe),
                dir=str(self._folder),
                settings=wandb.Settings(silent=True, console="off"),
            )
        except wandb.errors.Error as error:
            text = f"can't begin a run of W&B ({error}): `wandb login`, or WANDB_MODE=offline"
            raise OptionError("training.trackers", text) from None
        run.define_metric("epoch")
        run.define_metric("*", step_metric="epoch")
        if not run.offline:
            self._reporter.info(f"tracked: {run.url}")
        return run

    def _id(self) -> str:
        """Returns the name of W&B's run, which is made for the first row of a training."""
        file = self._folder / "wandb" / "id"
        with contextlib.suppress(FileNotFoundError):
            if kept := file.read_text().strip():
                return kept
        made = secrets.token_hex(4)
        file.parent.mkdir(exist_ok=True)
        write_text(file, made)
        return made

    def __exit__(self, kind, *error):
        if "_run" in vars(self):
            self._run.finish(exit_code=int(kind is not None))


TRACKERS = {"wandb": WandbTracker}
