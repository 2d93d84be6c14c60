"""The files of an exported encoder."""

import os
import shutil
from enum import StrEnum
from pathlib import Path
from typing import Any

from dml._storage.atomic import HELD, check_regular
from dml._storage.records import is_below, misfit, read_sealed, sha256, write_sealed
from dml.errors import DataError, MissingDataError

SCHEMA = 2


class ExportFormat(StrEnum):
    """The format of an exported encoder; `file` is its name in a bundle."""

    ONNX = "onnx", "encoder.onnx"
    SAVED_MODEL = "saved-model", "encoder"  # a folder
    LITERT = "litert", "encoder.tflite"
    KERAS = "keras", "encoder.keras"

    file: str

    def __new__(cls, value: str, file: str):
        member = str.__new__(cls, value)
        member._value_ = value
        member.file = file
        return member


class Bundle:
    """Names the files of an exported encoder.

    Its description holds their SHA-256, its own, and the properties of the encoder.

    Args:
        path: The folder.
        form: The format of the encoder.
    """

    def __init__(self, path: str | os.PathLike[str], form: ExportFormat = ExportFormat.ONNX):
        self.path = Path(path)
        self.encoder = self.path / ExportFormat(form).file
        self.description = self.path / "dml.json"

    def describe(self, description: dict[str, Any]) -> None:
        """Writes the description of the files in the folder."""
        files = {name: sha256(self.path / name) for name in self.names()}
        write_sealed(self.description, {"schema": SCHEMA, "files": files, **description})

    def names(self) -> list[str]:
        """Returns the names of all files but the description, sorted, relative to the folder."""
        files = {file for file in self.path.rglob("*") if file.is_file()}
        files -= {self.description, self.path / HELD}  # the lock of a bundle that is being written
        return sorted(file.relative_to(self.path).as_posix() for file in files)

    def open(self) -> dict[str, Any]:
        """Returns the description, after a check that its files exist and are unchanged.

        Raises:
            MissingDataError: One is missing.
            DataError: One does not match the description, or the description is damaged.
        """
        for file in (self.description, self.encoder):
            if not file.exists():
                raise MissingDataError(
                    self.path, f"not a bundle: {file.name} is missing. `dml export RUN` writes one"
                )
        check_regular(self.description)
        description = self._read()
        files = description["files"]
        for name, digest in files.items():
            if not is_below(name):
                raise DataError(self.description, f"names a file outside its folder: {name!r}")
            check_regular(self.path / name)
            if sha256(self.path / name) != digest:
                raise DataError(
                    self.path / name,
                    "damaged, or of another bundle: its SHA-256 is not the one in "
                    f"{self.description.name}. Export the run again",
                )
        self.check_unlisted(files)
        return description

    def _read(self):
        """Returns the description."""
        description = read_sealed(self.description, SCHEMA, "export the run again")
        if misfit(description, {"files": {str: str}}):
            raise DataError(self.description, "damaged: it lists no files; export the run again")
        return description

    def check_unlisted(self, files: dict[str, str]) -> None:
        """Raises DataError if the encoder may read a file that the description does not list."""
        listed = {*files, *(Path(name).parts[0] for name in files)}
        if self.encoder.name not in listed:
            raise DataError(self.description, f"damaged: {self.encoder.name} is not in it")
        if others := [name for name in self.names() if name not in files]:
            inside = b"" if self.encoder.is_dir() else self.encoder.read_bytes()
            for name in others:
                if Path(name).name.encode() in inside:
                    raise DataError(
                        self.encoder,
                        f"reads {name}, which {self.description.name} does not list. Export the "
                        "run again",
                    )

    def copy(self, path: str | os.PathLike[str]) -> None:
        """Copies the description and its files to a new folder."""
        for name in (self.description.name, *self._read()["files"]):
            (Path(path) / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path / name, Path(path) / name)
