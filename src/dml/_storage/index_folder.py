"""The files of an index."""

import contextlib
import dataclasses
import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from dml._storage.atomic import atomic_path, check_regular, without_links
from dml._storage.records import read_sealed, sha256, write_sealed
from dml._storage.run_folder import RunFolder
from dml.errors import DataError, MissingDataError, StorageError

SCHEMA = 3
LARGEST_DIMENSION = 1 << 16
LARGEST_NUMBER = 2**53
CHUNK = 1 << 20  # bytes hashed at once


@dataclass(frozen=True)
class FileEntry:
    """A file in a manifest.

    Args:
        name: Its name in the folder.
        bytes: How many of its bytes belong to the index; the rest is from an unfinished change.
        sha256: The SHA-256 of these bytes, in hex.
    """

    name: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """The properties of an index, and the files that it consists of.

    Args:
        number: The number of the change that wrote it, from 1.
        kind: One of `dml.index._kinds.KINDS`.
        rows: Number of vectors, including those of removed items.
        dimension: Length of a vector.
        encoder: SHA-256 of the encoder that computed the vectors.
        bundle: SHA-256 of the description of the bundle.
        search: The search parameters.
        recall: The recall that they reach: `target`, `measured`, and more.
        versions: The versions of the packages that wrote it.
        files: `vectors`, `items` and, unless the kind is `flat`, `codes`.
    """

    number: int
    kind: str
    rows: int
    dimension: int
    encoder: str
    bundle: str
    search: dict[str, int]
    recall: dict[str, Any]
    versions: dict[str, str]
    files: dict[str, FileEntry]

    FILE_NAMES: ClassVar[dict[str, str]] = {  # no other file is read, appended to or removed
        "vectors": r"vectors-[0-9]+\.f32",
        "items": r"items-[0-9]+\.parquet",
        "codes": r"codes-[0-9]+\.faiss",
    }

    def __post_init__(self):
        files = self.files
        whole = [self.number, self.rows, *(entry.bytes for entry in files.values())]
        texts = [self.kind, self.encoder, self.bundle, *(e.sha256 for e in files.values())]
        if (
            not all(type(number) is int and 0 <= number < LARGEST_NUMBER for number in whole)
            or not all(isinstance(text, str) for text in texts)
            or not {"vectors", "items"} <= set(files) <= set(self.FILE_NAMES)
            or not all(re.fullmatch(self.FILE_NAMES[f], files[f].name) for f in files)
            or type(self.dimension) is not int
            or not 0 < self.dimension <= LARGEST_DIMENSION
            or files["vectors"].bytes != 4 * self.rows * self.dimension
            or not all(0 <= self.recall[name] <= 1 for name in ("target", "measured"))
            or type(self.recall.get("rows", 0)) is not int
            or not isinstance(self.search, dict)
        ):
            raise ValueError("not the manifest of an index")

    def to_json(self) -> dict[str, Any]:
        """Returns the manifest as a dictionary for JSON."""
        return {"schema": SCHEMA, **dataclasses.asdict(self)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "Manifest":
        """Returns the manifest that `to_json` returned.

        Raises:
            KeyError, TypeError, ValueError: `value` is not a manifest.
        """
        value = {name: field for name, field in value.items() if name != "schema"}
        files = {name: FileEntry(**entry) for name, entry in value.pop("files").items()}
        return cls(**value, files=files)


@dataclass(frozen=True, eq=False)
class HashedFile:
    """A file whose bytes have been hashed.

    Args:
        entry: What was hashed.
        hasher: A `hashlib` object that has taken these bytes; it is copied, never updated.
    """

    entry: FileEntry
    hasher: Any


class IndexFolder:
    """Names the files of an index, writes them and detects damage.

    Args:
        path: The folder.
    """

    def __init__(self, path: str | os.PathLike[str]):
        self.path = Path(path)
        self.manifest = self.path / "manifest.json"
        self.bundle = self.path / "bundle"
        self.lock = self.path / ".lock"

    def read_manifest(self) -> Manifest:
        """Returns the manifest.

        Raises:
            MissingDataError: There is none.
            DataError: It is damaged.
        """
        run = RunFolder(self.path)
        if run.recipe.exists() and run.items.exists():
            make = f"`dml export {self.path}`, then `dml index build`, make one"
            hint = f"its index is {run.index}" if run.index.exists() else make
            raise MissingDataError(self.path, f"a run, not an index; {hint}")
        if not self.manifest.exists():
            raise MissingDataError(
                self.path,
                f"not an index: {self.manifest.name} is missing. `dml index build` creates one",
            )
        check_regular(self.manifest, links=False)
        value = read_sealed(self.manifest, SCHEMA, "build the index again")
        try:
            manifest = Manifest.from_json(value)
        except (AttributeError, KeyError, TypeError, ValueError):
            raise DataError(
                self.manifest, "damaged: not the manifest of an index; build the index again"
            ) from None
        for entry in manifest.files.values():
            with contextlib.suppress(FileNotFoundError):
                check_regular(self.path / entry.name, links=False)
        return manifest

    def write_manifest(self, manifest: Manifest) -> None:
        """Replaces the manifest, so that the files that it names become the index."""
        write_sealed(self.manifest, manifest.to_json())

    def write(self, name: str, data: Any) -> HashedFile:
        """Writes a file of bytes."""
        hasher = hashlib.sha256(data)
        with atomic_path(self.path / name) as temporary:
            Path(temporary).write_bytes(data)
        return _hashed(name, memoryview(data).nbytes, hasher)

    def append(self, file: HashedFile, data: Any) -> HashedFile:
        """Appends bytes to those of a file that a manifest knows.

        Until a manifest has the new entry, readers use the old one and don't see these bytes.
        """
        size = file.entry.bytes
        path = self.path / file.entry.name
        with open(path, "r+b", opener=without_links) as opened:
            opened.truncate(size)  # left by an unfinished change
            opened.seek(size)
            try:
                opened.write(data)
                opened.flush()
                os.fsync(opened.fileno())
            except OSError as error:
                opened.truncate(size)
                raise StorageError(f"{path}: {error.strerror}; the index is unchanged") from error
        hasher = file.hasher.copy()
        hasher.update(data)
        return _hashed(file.entry.name, size + memoryview(data).nbytes, hasher)

    def entry(self, name: str) -> FileEntry:
        """Returns the entry of a file that was written."""
        path = self.path / name
        return FileEntry(name, path.stat().st_size, sha256(path))

    def check(self, entry: FileEntry, known: HashedFile | None = None) -> HashedFile:
        """Checks that a file matches its entry.

        Args:
            entry: The file's entry in the manifest.
            known: An earlier state of the file; if it has grown since, only what was appended is
                read.

        Raises:
            FileNotFoundError: It is missing.
            DataError: It is damaged.
        """
        path = self.path / entry.name
        with open(path, "rb", opener=without_links) as file:
            if known is not None and known.entry == entry:
                return known
            if known is not None and known.entry.name == entry.name:
                hasher = known.hasher.copy()
                file.seek(known.entry.bytes)
                left = _hash(file, hasher, entry.bytes - known.entry.bytes)
                if not left and hasher.hexdigest() == entry.sha256:
                    return HashedFile(entry, hasher)
                file.seek(0)
            hasher = hashlib.sha256()
            left = _hash(file, hasher, entry.bytes)
        if left:
            raise DataError(path, f"cut short by {left:,} bytes; build the index again")
        if hasher.hexdigest() != entry.sha256:
            raise DataError(path, "damaged: its SHA-256 is not the one in the manifest")
        return HashedFile(entry, hasher)

    def remove_others(self, kept: Iterable[FileEntry]) -> None:
        """Removes files of earlier and of unfinished changes."""
        names = {entry.name for entry in kept}
        for pattern in ("vectors-*", "items-*", "codes-*", ".writing-*"):
            for file in self.path.glob(pattern):
                if file.name not in names and (file.is_symlink() or not file.is_dir()):
                    file.unlink(missing_ok=True)


def _hash(file, hasher, count):
    """Hashes `count` bytes of an open file; returns how many of them are missing."""
    left = max(count, 0)
    while left and (data := file.read(min(left, CHUNK))):
        hasher.update(data)
        left -= len(data)
    return left


def _hashed(name, size, hasher):
    return HashedFile(FileEntry(name, size, hasher.hexdigest()), hasher)
