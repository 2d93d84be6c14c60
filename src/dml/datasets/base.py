"""The base class of data sets: registry, folder, expected counts and validation split."""

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from dml._storage.places import data_folder
from dml.datasets.items import Items, check_validation
from dml.errors import DataError, MissingDataError, OptionError
from dml.registry import Registry

FEW_CLASSES = 5  # below, validation by images is recommended

DATASETS = Registry("dataset")


@dataclass(frozen=True)
class Archive:
    """One file of a data set at a public address.

    Args:
        url: Its address.
        checksum: "md5:..." or "sha256:..." of the file.
        unpack: Whether the reader needs its contents (zip or tar) unpacked next to it.
    """

    url: str
    checksum: str
    unpack: bool = True

    @property
    def file(self) -> str:
        """The name under which it is stored."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DatasetPart:
    """Options that every data set has. Subclasses implement `read() -> Items`.

    Args:
        root: The data set's folder; empty takes it from the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes; `images`, that share of each class's images.
    """

    root: str = ""
    validation_fraction: float = 0.2
    validation_seed: int = 0
    validation: str = "classes"

    name: ClassVar[str] = ""  # as registered, for messages
    folders: ClassVar[tuple[str, ...]] = ()  # names under DML_DATA; the first is where `get` writes
    recall_ks: ClassVar[tuple[int, ...]] = (1, 2, 4, 8)
    protocols: ClassVar[tuple[str, ...]] = ("zero-shot",)
    # The published image counts: key (by default the protocol) -> split -> images.
    expected: ClassVar[dict[str, dict[str, int]]] = {}
    archives: ClassVar[tuple[Archive, ...]] = ()
    source: ClassVar[str] = ""  # where to get it, for messages

    def __post_init__(self):
        check_validation(self.validation_fraction, self.validation_seed, self.validation)
        protocol = getattr(self, "protocol", self.protocols[0])
        if protocol not in self.protocols:
            allowed = ", ".join(self.protocols)
            raise OptionError("protocol", f"must be one of {allowed}; got {protocol!r}")

    def items(self) -> Items:
        """Returns the standard splits, with a validation split taken from the training split.

        Raises:
            MissingDataError: The folder or one of its files is missing.
            DataError: A file is corrupt, or the counts are not the published ones.
        """
        items = self.read()
        self.check_counts(items, self.expected.get(self.expected_key(), {}))
        if "val" in items.splits:
            return items
        items = items.with_validation(
            self.validation_fraction, self.validation_seed, self.validation
        )
        return replace(items, notes=(*items.notes, *self.validation_notes(items)))

    def validation_notes(self, items: Items) -> Iterator[str]:
        """Yields notes on the validation split that was held out."""
        train, val = (set(items.select(split).class_names) for split in ("train", "val"))
        if self.validation_fraction and not val:
            yield "no validation: it needs 4 images of a class, or 2 training classes"
        elif 0 < len(val) < FEW_CLASSES and not val & train:
            yield (
                f"validation has {len(val)} of {len(val | train)} training classes, too few for a "
                "reliable R@1: --dataset.validation images holds out images of every class instead"
            )

    def read(self) -> Items:
        """Returns the data set's own splits."""
        raise NotImplementedError

    def expected_key(self) -> str:
        """Returns the key of `expected` that these options choose."""
        return getattr(self, "protocol", self.protocols[0])

    def check_counts(self, items: Items, expected: dict[str, int]) -> None:
        """Refuses a data set with too few or too many images.

        Raises:
            DataError: The number of images in a split is not the expected one.
        """
        for split, wanted in expected.items():
            found = int(np.sum(items.splits == split))
            if found != wanted:
                raise DataError(
                    self.folder(),
                    f"{self.name} has {found:,} {split} images where the original has "
                    f"{wanted:,}; unpack the original archive again",
                )

    def folder(self) -> Path:
        """Returns the data set's folder.

        Raises:
            MissingDataError: It does not exist, or neither `root` nor DML_DATA is set.
        """
        if self.root:
            path = Path(self.root).expanduser()
            if not path.exists():
                raise MissingDataError(path, f"missing; set --dataset.root to {self.name}")
            return path
        data = data_folder()
        if data is None:
            raise MissingDataError(
                self.name,
                "set --dataset.root to its folder, or DML_DATA to the folder that holds "
                f"{' or '.join(self.folders)}",
            )
        candidates = [data / name for name in self.folders]
        for path in candidates:
            if path.is_dir():
                return path
        others = "".join(f" (nor {path} exists)" for path in candidates[1:])
        raise MissingDataError(
            candidates[0],
            f"missing{others}; set --dataset.root to {self.name}, or DML_DATA to the folder that "
            "holds it",
        )


def find_file(*candidates: Path) -> Path:
    """Returns the first of these files that exists.

    Raises:
        MissingDataError: None of them exists; the message names the first.
    """
    for path in candidates:
        if path.is_file():
            return path
    others = "".join(f" (nor {path} exists)" for path in candidates[1:])
    raise MissingDataError(candidates[0], f"missing{others}")


def read_rows(path: Path, columns: int, header: int = 0) -> list[tuple[str, ...]]:
    """Returns the lines of a text file of words as tuples of `columns` words.

    Args:
        path: The file.
        columns: Words in each line.
        header: Lines to leave out at the top.

    Raises:
        MissingDataError: It is missing.
        DataError: A line has more or fewer words, or the file is not text or lists nothing.
    """
    try:
        lines = find_file(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(path, "corrupt: not a text file") from None
    rows = []
    for number, line in enumerate(lines[header:], start=header + 1):
        words = line.split()
        if len(words) != columns and words:
            raise DataError(
                path,
                f"line {number}: expected {columns} words, got {len(words)}: {line[:60]!r}",
            )
        if words:
            rows.append(tuple(words))
    if not rows:
        raise DataError(path, "corrupt: it lists nothing")
    return rows


def integer(text: str, path: Path) -> int:
    """Returns a text as an integer.

    Raises:
        DataError: It is not one; the message names the file.
    """
    try:
        return int(text)
    except ValueError:
        raise DataError(path, f"corrupt: expected an integer, got {text!r}") from None


def missing_files(paths: Iterable[str]) -> Iterator[int]:
    """Yields the positions of those paths that are not files; lists each folder only once."""
    listings: dict[str, set[str]] = {}
    for position, path in enumerate(paths):
        folder, name = os.path.split(path)
        if folder not in listings:
            try:
                with os.scandir(folder or ".") as entries:
                    listings[folder] = {entry.name for entry in entries if entry.is_file()}
            except OSError:
                listings[folder] = set()
        if name not in listings[folder]:
            yield position


def require_files(paths: Iterable[str | os.PathLike[str]]) -> None:
    """Refuses a list of images of which any is missing.

    Raises:
        MissingDataError: The message names the first and counts the rest.
    """
    paths = [str(path) for path in paths]
    missing = [paths[position] for position in missing_files(paths)]
    if missing:
        rest = f", and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise MissingDataError(missing[0], f"image missing{rest}; unpack the archive again")


def halves(classes: Iterable) -> dict:
    """Returns {class: "train" or "test"}: the first half of these classes trains (zero-shot)."""
    classes = list(classes)
    middle = len(classes) // 2
    return {name: "train" if i < middle else "test" for i, name in enumerate(classes)}
