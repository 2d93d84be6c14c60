"""The files of a run."""

import contextlib
import json
import os
import shutil
from pathlib import Path
from typing import ClassVar

from dml._storage.atomic import check_regular, without_links, write_text
from dml._storage.locks import locked
from dml._storage.records import misfit, read_json, read_sealed, sha256, write_json, write_sealed

NUMBER = (int, float)


FIGURES = {str: {"value": NUMBER, str: (*NUMBER, type(None))}}


METRICS = {
    **{"dataset": str, "protocol": str, "figures": FIGURES, "untrained": FIGURES, "notes": [str]},
    **dict.fromkeys(("queries", "classes", "gallery", "excluded"), int),
    "thresholds": list,
}


MANIFEST = {"recipe": str, "parts": {str: str}, "files": {str: str}}


class RunFolder:
    """Names the files of one training run; the only place that knows them.

    Its manifest holds the recipe that the training began with and the SHA-256 of each file that
    decides a figure, so that what was changed or damaged since is found when it is read.

    Args:
        path: The folder; made by `create`.
    """

    shapes: ClassVar[dict] = {"metrics.json": METRICS, "untrained.json": FIGURES}

    def __init__(self, path):
        self.path = Path(path)
        self.recipe = self.path / "recipe.toml"
        self.items = self.path / "items.parquet"
        self.manifest = self.path / "manifest.json"
        self.encoder = self.path / "encoder.keras"
        self.log = self.path / "log.jsonl"
        self.metrics = self.path / "metrics.json"
        self.versions = self.path / "versions.json"
        self.untrained = self.path / "untrained.json"
        self.report = self.path / "report.html"
        self.index = self.path / "index"  # of the test images, by `dml demo`
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tensorboard"
        self.evaluations = self.path / "evaluation"

    def create(self):
        """Makes the folder.

        Raises:
            ValueError: It already holds a run, or files that a run has left.
            OSError: It can't be written.
        """
        self.check_new()
        self.path.mkdir(parents=True, exist_ok=True)
        return self

    def check_new(self):
        """Refuses a folder that a new run can't have.

        Raises:
            ValueError: It already holds a run, files that a run has left, or folders of runs.
        """
        if inside := sorted(self.path.glob("*/recipe.toml")):
            raise ValueError(
                f"{self.path} holds runs, such as {inside[0].parent.name}: choose an --out in it"
            )
        if self.recipe.exists():
            raise ValueError(
                f"{self.path} already holds a run: choose another --out, or continue it "
                "with --resume"
            )
        files = (self.manifest, self.encoder, self.log, self.metrics, self.untrained)
        for file in (*files, self.checkpoints, self.tensorboard, self.evaluations):
            if file.exists():
                raise ValueError(
                    f"{self.path} holds {file.name} of an earlier run: choose another --out, or "
                    "remove the folder"
                )

    def open(self):
        """Checks that the folder holds a run with an encoder.

        Raises:
            FileNotFoundError: It does not.
        """
        for file in (self.recipe, self.encoder):
            if not file.exists():
                raise FileNotFoundError(f"{self.path} is no finished run: {file.name} is missing")
        return self

    @contextlib.contextmanager
    def writing(self):
        """Keeps other processes from writing the run; removes what killed ones left half-written.

        Raises:
            ValueError: Another process is writing it, or what is written would go elsewhere.
        """
        with locked(self.path / ".lock", str(self.path)):
            folders = (self.checkpoints, self.tensorboard, self.evaluations)
            for inside in (*folders, *self.evaluations.rglob("*")):
                if inside.is_symlink():  # in a stranger's run it may lead anywhere
                    raise ValueError(
                        f"{inside}: a link, but a run is written within its own folder only; put "
                        "there what it leads to"
                    )
            litter = [*self.path.glob(".writing-*"), *self.checkpoints.glob(".writing-*")]
            litter += [*self.evaluations.rglob(".writing-*")]
            for left in litter:
                if left.parent != self.path and left.is_dir():
                    shutil.rmtree(left)
                elif left.is_file():  # a folder is of a bundle or an index, with a lock of its own
                    left.unlink()
            yield

    def evaluation(self, name):
        """Returns the folder of the evaluation of that name."""
        return self.evaluations / name

    def begin(self, recipe, parts):
        """Notes what the training begins with, and nothing else yet.

        Args:
            recipe: The resolved recipe, as TOML.
            parts: Paths of the user's own files that it names.
        """
        digests = {str(path): sha256(path) for path in parts}
        self._write_manifest({"schema": 1, "recipe": recipe, "parts": digests, "files": {}})

    def begun_with(self):
        """Returns what `begin` noted: the recipe and {path: SHA-256} of the user's own files."""
        manifest = self._read_manifest()
        return manifest["recipe"], manifest["parts"]

    def record(self, *files):
        """Notes in the manifest what is in these files of the run now."""
        manifest = self._read_manifest()
        manifest["files"].update({self._name(file): sha256(file) for file in files})
        self._write_manifest(manifest)

    def checked(self, file):
        """Returns the path of a file of the run that is as it was recorded.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged or was changed, or belongs to a change that was not finished.
        """
        if file == self.items:
            hint = "it says what the run was trained on: restore it, or train anew"
        elif self.evaluations in file.parents or file == self.metrics:
            hint = "evaluate the run again"
        else:
            hint = f"`dml train {self.path} --resume` writes it again"
        if not file.exists():
            raise FileNotFoundError(f"{file} is missing; {hint}")
        check_regular(file)
        if sha256(file) != self._read_manifest()["files"].get(self._name(file)):
            raise ValueError(f"{file}: damaged, or changed since it was written; {hint}")
        return file

    def write_json(self, file, value):
        """Writes a JSON file of the run and records it."""
        write_json(file, value)
        self.record(file)

    def read_json(self, file):
        """Returns the value in a JSON file of the run.

        Raises:
            FileNotFoundError: As of `checked`.
            ValueError: As of `checked`; or it is of another shape than dml writes.
        """
        value = read_json(self.checked(file))
        if field := misfit(value, self.shapes.get(file.name, dict)):
            raise ValueError(f"{file}: {field} is missing or not what dml writes there")
        return value

    def _name(self, file):
        return Path(file).relative_to(self.path).as_posix()

    def _write_manifest(self, manifest):
        write_sealed(self.manifest, manifest)

    def _read_manifest(self):
        if not self.manifest.exists():
            raise FileNotFoundError(
                f"{self.manifest} is missing; `dml train {self.path} --resume` writes it again"
            )
        try:
            manifest = read_sealed(self.manifest)
        except ValueError as error:
            raise ValueError(
                f"{error}. Remove it, and `dml train {self.path} --resume` goes on by recipe.toml "
                "as it is now"
            ) from None
        if manifest.get("schema") != 1 or misfit(manifest, MANIFEST):
            raise ValueError(f"{self.manifest}: not of this version of dml; train anew")
        return manifest

    def append_log(self, row):
        """Adds one epoch's figures as a line of JSON."""
        with open(self.log, "a", encoding="utf-8", opener=without_links) as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_log(self):
        """Returns the epochs' figures, oldest first, without lines that are cut short or damaged.

        Of an epoch that is there twice, the later line.
        """
        if not self.log.exists():
            return []
        check_regular(self.log)
        rows = {}
        for line in self.log.read_bytes().splitlines(keepends=True):
            if line.endswith(b"\n") and (row := _log_row(line)) is not None:
                rows[row["epoch"]] = row
        return [rows[epoch] for epoch in sorted(rows)]

    def trim_log(self, epoch):
        """Removes the lines after `epoch`, of an epoch that was logged but has no checkpoint."""
        if not self.log.exists():
            return
        rows = [row for row in self.read_log() if row["epoch"] <= epoch]
        write_text(self.log, "".join(json.dumps(row) + "\n" for row in rows))


def _log_row(line):
    """Returns the figures in a line of the log, or None where it holds none."""
    try:
        row = json.loads(line)
        numbers = all(type(v) in (int, float) and float(v) is not None for v in row.values())
    except (ValueError, AttributeError, OverflowError, RecursionError):
        return None
    return row if numbers and type(row.get("epoch")) is int else None
