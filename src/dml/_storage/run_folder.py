"""The files of a run."""

import contextlib
import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from dml._storage.atomic import (
    atomic_path,
    check_regular,
    make_folder,
    sync,
    without_links,
    write_text,
)
from dml._storage.locks import locked
from dml._storage.records import misfit, read_json, read_sealed, sha256, write_json, write_sealed
from dml.errors import DataError, MissingDataError, OccupiedError, OptionError

STUDY = "study.json"  # the manifest in the folder of a study, which has a recipe and items as well


@dataclass(frozen=True)
class RunManifest:
    """The recipe that a run was started with, and the digests of its files.

    Args:
        recipe: The resolved recipe that the training began with, as TOML.
        parts: The SHA-256 of each of the user's own files that the recipe names, by path.
        files: The SHA-256 of each file of the run that decides a metric, by relative path.
    """

    recipe: str
    parts: dict[str, str]
    files: dict[str, str] = field(default_factory=dict)

    SCHEMA: ClassVar[dict] = {"recipe": str, "parts": {str: str}, "files": {str: str}}
    VERSION: ClassVar[int] = 1

    def to_json(self) -> dict[str, Any]:
        """Returns the dictionary that is written."""
        return {"schema": self.VERSION, **dataclasses.asdict(self)}


class StageFolder:
    """Names the files of one stage of a training: its log and checkpoints.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        self.path = path
        self.log = path / "log.jsonl"
        self.checkpoints = path / "checkpoints"

    def append_log(self, row: dict[str, float]) -> None:
        """Adds a line of JSON with the metrics of an epoch, or of a validation within one."""
        is_new = not self.log.exists()
        make_folder(self.path)
        with open(self.log, "a", encoding="utf-8", opener=without_links) as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            sync(self.path)

    def read_log(self) -> list[dict[str, float]]:
        """Returns the metrics of the epochs, oldest first, without truncated or damaged lines.

        If an epoch occurs twice, the later line counts.
        """
        if not self.log.exists():
            return []
        check_regular(self.log)
        rows = {}
        for line in self.log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and (row := _log_row(line)) is not None:
                rows[row["epoch"]] = row
        return [rows[epoch] for epoch in sorted(rows)]

    def trim_log(self, epoch: float) -> None:
        """Removes the lines after `epoch`: those of epochs that have no checkpoint."""
        if not self.log.exists():
            return
        rows = [row for row in self.read_log() if row["epoch"] <= epoch]
        write_text(self.log, "".join(json.dumps(row) + "\n" for row in rows))


class StagesFolder(StageFolder):
    """Names the files of the stages of a training; those of the main one lie in the folder itself.

    Args:
        path: The folder.
    """

    def __init__(self, path: Path):
        super().__init__(path)
        self.head_stage = StageFolder(path / "head")
        self.second_stage = StageFolder(path / "second")
        self.stages = self.head_stage, self, self.second_stage  # in their order

    def read_history(self) -> list[dict[str, float]]:
        """Returns the metrics of all stages, oldest first; each counts on from the one before."""
        rows: list[dict[str, float]] = []
        for stage in self.stages:
            last = rows[-1]["epoch"] if rows else 0
            # The state before a stage is that after the one before.
            new = [row for row in stage.read_log() if not rows or row["epoch"]]
            rows += [{**row, "epoch": round(last + row["epoch"], 4)} for row in new]
        return rows

    def remove_checkpoints(self) -> None:
        """Removes the checkpoints of all stages: they can't be continued from then on."""
        for stage in self.stages:
            shutil.rmtree(stage.checkpoints, ignore_errors=True)


class RunFolder(StagesFolder):
    """Names the files of a training run; no other module knows their names.

    Its manifest holds the recipe that the training began with and the SHA-256 of each file that
    decides a metric, so that changes and damage are noticed when a file is read.

    Args:
        path: The folder; `create` creates it.
    """

    def __init__(self, path: str | os.PathLike[str]):
        if not os.fspath(path):  # Path("") is the current folder
            raise OptionError("folder", "must name the folder of a run. The name is empty")
        super().__init__(Path(path))
        self.refit = StagesFolder(self.path / "refit")
        self.recipe = self.path / "recipe.toml"
        self.items = self.path / "items.parquet"
        self.manifest = self.path / "manifest.json"
        self.encoder = self.path / "encoder.keras"
        self.metrics = self.path / "metrics.json"
        self.versions = self.path / "versions.json"
        self.parameters = self.path / "parameters.json"
        self.times = self.path / "times.json"
        self.frozen = self.path / "frozen.json"
        self.selection = self.path / "selection.json"
        self.report = self.path / "report.html"
        self.features = self.path / "features"  # cached while a head stage needs them
        # By `dml run`:
        self.steps = self.path / "steps.json"
        self.images = self.path / "images.parquet"
        self.index = self.path / "index"
        self.overview = self.path / "overview.html"
        self.tensorboard = self.path / "tensorboard"
        self.evaluations = self.path / "evaluation"

    def create(self) -> "RunFolder":
        """Creates the folder.

        Raises:
            OccupiedError: It already holds a run, or files of one.
            OSError: It can't be written.
        """
        self.check_new()
        make_folder(self.path)
        return self

    def check_new(self) -> None:
        """Raises an error if no new run can start in the folder.

        Raises:
            OccupiedError: It already holds a run, files of one, or the folders of runs.
        """
        if self.path.exists() and not self.path.is_dir():
            raise OccupiedError(self.path, "is a file, where a folder is to be: choose another")
        if inside := sorted(self.path.glob("*/recipe.toml")):
            raise OccupiedError(
                self.path, f"holds runs, such as {inside[0].parent.name}: choose an --out in it"
            )
        self._check_no_study()
        if self.recipe.exists():
            raise OccupiedError(
                self.path,
                "already holds a run: choose another --out, or continue it with --resume",
            )
        files = (self.manifest, self.encoder, self.log, self.metrics, self.frozen, self.selection)
        folders = (self.checkpoints, *self._stage_folders, self.features)
        for file in (*files, *folders, self.tensorboard, self.evaluations):
            if file.exists():
                raise OccupiedError(
                    self.path,
                    f"holds {file.name} of an earlier run: choose another --out, or remove the "
                    "folder",
                )

    def check_begun(self) -> None:
        """Raises an error if there is no run to resume.

        Raises:
            MissingDataError: There is no recipe.
            OccupiedError: It is the folder of a study.
        """
        self._check_no_study()
        if not self.recipe.exists():
            raise MissingDataError(self.path, "there is no run to resume: recipe.toml is missing")

    def _check_no_study(self):
        if (self.path / STUDY).exists():
            raise OccupiedError(
                self.path, f"holds a study: `dml tune {self.path} --resume` continues it"
            )

    def open(self) -> "RunFolder":
        """Checks that the folder holds a run with an encoder.

        Raises:
            MissingDataError: It does not.
        """
        if not self.recipe.exists():
            raise MissingDataError(self.path, f"not a run: {self.recipe.name} is missing")
        if not self.encoder.exists():
            raise MissingDataError(
                self.path,
                f"not a finished run: {self.encoder.name} is missing. `dml train {self.path} "
                "--resume` continues it",
            )
        return self

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Keeps other processes from writing the run; removes the partial files of killed ones.

        Raises:
            BusyError: Another process is writing it.
            DataError: There is a link in it, through which files would be written elsewhere.
        """
        with locked(self.path / ".lock", str(self.path)):
            stages = (*self._stage_folders, *self._checkpoints)
            folders = (*stages, self.tensorboard, self.evaluations)
            for inside in (*folders, *self.evaluations.rglob("*")):
                if inside.is_symlink():  # in an untrusted run it may lead anywhere
                    raise DataError(
                        inside,
                        "a link, but a run is only written within its own folder; replace the "
                        "link by its target",
                    )
            litter = [*self.evaluations.rglob(".writing-*")]
            for folder in (self.path, *stages):
                litter += folder.glob(".writing-*")
            for left in litter:
                if left.parent != self.path and left.is_dir():
                    shutil.rmtree(left)
                elif left.is_file():  # a folder belongs to a bundle or index and has its own lock
                    left.unlink()
            yield

    @property
    def _stage_folders(self) -> tuple[Path, ...]:
        """The folders of stages, other than the run's own."""
        return tuple(
            stage.path for stage in (*self.stages, *self.refit.stages) if stage is not self
        )

    @property
    def _checkpoints(self) -> tuple[Path, ...]:
        """The folders of checkpoints."""
        return tuple(stage.checkpoints for stage in (*self.stages, *self.refit.stages))

    def evaluation(self, name: str) -> Path:
        """Returns the folder of the evaluation of that name."""
        return self.evaluations / name

    def begin(self, recipe: str, parts: Iterable[str | os.PathLike[str]], *files: Path) -> None:
        """Writes the manifest of a new training.

        Args:
            recipe: The resolved recipe, as TOML.
            parts: Paths of the user's own files that it names.
            *files: Those of the run that are there already.
        """
        digests = {str(path): sha256(path) for path in parts}
        own = {self._name(file): sha256(file) for file in files}
        self._write_manifest(RunManifest(recipe, digests, own))

    def begun_with(self) -> tuple[str, dict[str, str]]:
        """Returns what `begin` wrote: the recipe and {path: SHA-256} of the user's own files."""
        manifest = self._read_manifest()
        return manifest.recipe, manifest.parts

    def record(self, *files: Path) -> None:
        """Writes the present digests of these files of the run to the manifest."""
        self._record({self._name(file): sha256(file) for file in files})

    def _record(self, digests):
        manifest = self._read_manifest()
        self._write_manifest(dataclasses.replace(manifest, files={**manifest.files, **digests}))

    def checked(self, file: Path) -> Path:
        """Returns the path of a file of the run, after a check that it is unchanged.

        Raises:
            MissingDataError: It is missing.
            DataError: It is damaged or was changed, or its writing was interrupted.
        """
        if file == self.items:
            hint = "it records what the run was trained on: restore it, or train again"
        elif self.evaluations in file.parents or file == self.metrics:
            hint = "evaluate the run again"
        else:
            hint = f"`dml train {self.path} --resume` writes it again"
        if not file.exists():
            raise MissingDataError(file, f"missing; {hint}")
        check_regular(file)
        if sha256(file) != self._read_manifest().files.get(self._name(file)):
            raise DataError(file, f"damaged, or changed since it was written; {hint}")
        return file

    def write_json(self, file: Path, value: Any) -> None:
        """Writes a JSON file of the run, its digest first.

        If it ends in between, a new file is missing rather than damaged. An old one counts as
        damaged: it may not fit what was written before it.
        """
        with atomic_path(file) as temporary:
            write_json(temporary, value)
            self._record({self._name(file): sha256(temporary)})

    def read_json(self, file: Path, shape: Any = dict) -> Any:
        """Returns the value in a JSON file of the run.

        Args:
            file: Its path.
            shape: The expected schema, as `dml._storage.records.misfit` takes it.

        Raises:
            MissingDataError: As for `checked`.
            DataError: As for `checked`; or a field is not what dml writes.
        """
        value = read_json(self.checked(file))
        if name := misfit(value, shape):
            raise DataError(file, f"{name} is missing or not what dml writes there")
        return value

    def _name(self, file):
        return Path(file).relative_to(self.path).as_posix()

    def _write_manifest(self, manifest):
        write_sealed(self.manifest, manifest.to_json())

    def _read_manifest(self):
        if not self.manifest.exists():
            raise MissingDataError(
                self.manifest, f"missing; `dml train {self.path} --resume` writes it again"
            )
        hint = (
            f"remove it, and `dml train {self.path} --resume` continues with recipe.toml as it is "
            "now"
        )
        value = read_sealed(self.manifest, RunManifest.VERSION, hint)
        if field := misfit(value, RunManifest.SCHEMA):
            raise DataError(self.manifest, f"damaged: {field} is not what dml writes; {hint}")
        return RunManifest(value["recipe"], value["parts"], value["files"])


def _log_row(line):
    """Returns the metrics in a line of the log; None if it is damaged."""
    try:
        row = json.loads(line)
        numbers = all(type(v) in (int, float) and float(v) is not None for v in row.values())
    except (ValueError, AttributeError, OverflowError, RecursionError):
        return None
    return row if numbers and "epoch" in row else None
