"""What every data set shares: its registry, where it lies, its counts and validation split."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from dml._storage.places import data_folder
from dml.datasets.items import check_validation
from dml.registry import Registry

FEW_CLASSES = 5  # below, validation by images is recommended

DATASETS = Registry("dataset")


@dataclass(frozen=True)
class Archive:
    """One file of a data set at a public address.

    Args:
        url: Its address.
        checksum: "md5:..." or "sha256:..." of the file.
        unpack: Whether the reader wants its contents (zip or tar) beside it.
    """

    url: str
    checksum: str
    unpack: bool = True

    @property
    def file(self):
        """The name under which it is stored."""
        return self.url.rsplit("/", 1)[-1]


@dataclass(frozen=True)
class DatasetPart:
    """Options that every data set has. Subclasses implement `read() -> Items`.

    Args:
        root: The data set's folder; empty takes it from the folder that DML_DATA names.
        validation_fraction: Share of the training classes set apart for validation. In [0, 1).
        validation_seed: Which classes these are. At least 0.
        validation: `classes`, or `images`: that share of each class's images instead.
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
    source: ClassVar[str] = ""  # where a person gets it, for messages

    def __post_init__(self):
        check_validation(self.validation_fraction, self.validation_seed, self.validation)
        protocol = getattr(self, "protocol", self.protocols[0])
        if protocol not in self.protocols:
            allowed = ", ".join(self.protocols)
            raise ValueError(f"protocol must be one of {allowed}; got {protocol!r}")

    def items(self):
        """Returns the standard split as `Items`, a validation split out of the training split.

        Raises:
            FileNotFoundError: The folder or one of its files is missing.
            ValueError: A file is corrupt, or the counts are not the published ones.
        """
        items = self.read()
        self.check_counts(items, self.expected.get(self.expected_key(), {}))
        if "val" in items.splits:
            return items
        items = items.with_validation(
            self.validation_fraction, self.validation_seed, self.validation
        )
        return replace(items, notes=(*items.notes, *self.validation_notes(items)))

    def validation_notes(self, items):
        """Yields what there is to say of a validation split that was set apart."""
        train, val = (set(items.select(split).class_names) for split in ("train", "val"))
        if self.validation_fraction and not val:
            yield "no validation: it takes 4 images of a class, or 2 training classes"
        elif 0 < len(val) < FEW_CLASSES and not val & train:
            yield (
                f"validation has {len(val)} of {len(val | train)} training classes, too few for "
                "its R@1 to say much: --dataset.validation images sets images of every class apart"
            )

    def read(self):
        """Returns the data set's own splits as `Items`."""
        raise NotImplementedError

    def expected_key(self):
        """Returns the key of `expected` that these options choose."""
        return getattr(self, "protocol", self.protocols[0])

    def check_counts(self, items, expected):
        """Refuses a data set of which images are missing or too many."""
        for split, wanted in expected.items():
            found = int(np.sum(items.splits == split))
            if found != wanted:
                raise ValueError(
                    f"{self.folder()}: {self.name} has {found:,} {split} images where the original "
                    f"has {wanted:,}; unpack the original archive again"
                )

    def folder(self):
        """Returns the data set's folder.

        Raises:
            FileNotFoundError: It does not exist, or nothing says where it is.
        """
        if self.root:
            path = Path(self.root).expanduser()
            if not path.exists():
                raise FileNotFoundError(f"no folder {path}: set --dataset.root to {self.name}")
            return path
        data = data_folder()
        if data is None:
            raise FileNotFoundError(
                f"where is {self.name}? Set --dataset.root to its folder, or DML_DATA to the "
                f"folder that holds {' or '.join(self.folders)}"
            )
        candidates = [data / name for name in self.folders]
        for path in candidates:
            if path.is_dir():
                return path
        raise FileNotFoundError(
            f"no folder {' or '.join(map(str, candidates))}: set --dataset.root to {self.name}, or "
            f"DML_DATA to the folder that holds it"
        )


def find_file(*candidates):
    """Returns the first of these files that exists.

    Raises:
        FileNotFoundError: None does; the message names the first.
    """
    for path in candidates:
        if path.is_file():
            return path
    others = "".join(f" (nor {path})" for path in candidates[1:])
    raise FileNotFoundError(f"{candidates[0]} is missing{others}")


def read_rows(path, columns, header=0):
    """Returns the lines of a text file of words as tuples of `columns` words.

    Args:
        path: The file.
        columns: Words in each line.
        header: Lines to leave out at the top.

    Raises:
        FileNotFoundError: It is missing.
        ValueError: A line has more or fewer words, or the file is not text or lists nothing.
    """
    try:
        lines = find_file(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{path} is corrupt: not a text file") from None
    rows = []
    for number, line in enumerate(lines[header:], start=header + 1):
        words = line.split()
        if len(words) != columns and words:
            raise ValueError(
                f"{path}, line {number}: expected {columns} words, got {len(words)}: {line[:60]!r}"
            )
        if words:
            rows.append(tuple(words))
    if not rows:
        raise ValueError(f"{path} is corrupt: it lists nothing")
    return rows


def integer(text, path):
    """Returns the text as an integer.

    Raises:
        ValueError: It is none; the message names the file.
    """
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{path} is corrupt: expected an integer, got {text!r}") from None


def missing_files(paths):
    """Yields the positions of those paths that are no files; lists each folder only once."""
    listings = {}
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


def require_files(paths):
    """Refuses a list of images of which any is missing.

    Raises:
        FileNotFoundError: The message names the first and counts the rest.
    """
    paths = [str(path) for path in paths]
    missing = [paths[position] for position in missing_files(paths)]
    if missing:
        rest = f" and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise FileNotFoundError(f"{missing[0]}{rest}: image missing; unpack the archive again")


def halves(classes):
    """Returns {class: "train" or "test"}: the first half of these classes trains (zero-shot)."""
    classes = list(classes)
    middle = len(classes) // 2
    return {name: "train" if i < middle else "test" for i, name in enumerate(classes)}
