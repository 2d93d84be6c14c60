"""The files of a study: trials of a recipe's options."""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dml._storage.atomic import make_folder, write_text
from dml._storage.records import misfit, read_sealed, write_sealed
from dml._storage.run_folder import STUDY, RunFolder
from dml.errors import DataError, MissingDataError, OccupiedError, OptionError


@dataclass(frozen=True)
class StudyManifest:
    """What a study was started with.

    Args:
        recipe: The resolved recipe around which it searches, as TOML.
        spaces: What its trials search, and what those of the head stage search or None, as JSON.
        trials: Trials in all.
    """

    recipe: str
    spaces: list[dict[str, Any] | None]
    trials: int

    VERSION: ClassVar[int] = 1
    SCHEMA: ClassVar[dict] = {"recipe": str, "spaces": list, "trials": int}

    def to_json(self) -> dict[str, Any]:
        """Returns the dictionary that is written."""
        return {"schema": self.VERSION, **dataclasses.asdict(self)}


class StudyFolder:
    """Names the files of a study; no other module knows their names.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        if not os.fspath(path):  # Path("") is the current folder
            raise OptionError("folder", "must name the folder of a study. The name is empty")
        self.path = Path(path)
        self.manifest = self.path / STUDY
        self.recipe = self.path / "recipe.toml"  # the manifest's, for `load_recipe`
        self.items = self.path / "items.parquet"
        self.features = self.path / "features"  # of the frozen network, for all trials
        self.journal = self.path / "journal.log"
        self.table = self.path / "trials.tsv"
        self.best = self.path / "best.toml"
        self.lock = self.path / ".lock"
        self.runs = self.path / "trials"
        self.confirmation = self.path / "confirmation"

    def run(self, number: int) -> RunFolder:
        """Returns the folder of a trial's run."""
        return RunFolder(self.runs / f"{number:04d}")

    def confirming(self, name: str, number: int) -> RunFolder:
        """Returns the folder of a run that repeats options, whose name is given."""
        return RunFolder(self.confirmation / f"{name}-{number:04d}")

    def running(self, number: int) -> Path:
        """Returns the file that the process of a trial keeps locked."""
        return self.runs / f".{number:04d}.lock"

    def check_new(self) -> None:
        """Raises an error if no new study can start in the folder.

        Raises:
            OccupiedError: It holds a study, or something else.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OccupiedError(self.path, "is a file, where a folder is to be: choose another")
        if self.manifest.exists():
            raise OccupiedError(
                self.path,
                "already holds a study: choose another --out, or continue it with --resume",
            )
        if self.path.exists() and any(self.path.iterdir()):
            raise OccupiedError(self.path, "is not empty: choose another --out")

    def begin(self, manifest: StudyManifest) -> None:
        """Creates the folder and writes what the study starts with."""
        make_folder(self.runs)
        write_text(self.recipe, manifest.recipe)
        self.write(manifest)

    def write(self, manifest: StudyManifest) -> None:
        """Writes the manifest."""
        write_sealed(self.manifest, manifest.to_json())

    def begun_with(self) -> StudyManifest:
        """Returns what the study was started with.

        Raises:
            MissingDataError: There is no study.
            DataError: Its manifest is damaged.
        """
        if not self.manifest.exists():
            raise MissingDataError(
                self.path, f"there is no study to resume: {self.manifest.name} is missing"
            )
        hint = "start another study, with another --out"
        value = read_sealed(self.manifest, StudyManifest.VERSION, hint)
        if field := misfit(value, StudyManifest.SCHEMA):
            raise DataError(self.manifest, f"damaged: {field} is not what dml writes; {hint}")
        return StudyManifest(value["recipe"], value["spaces"], value["trials"])
