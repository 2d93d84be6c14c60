"""The base class of data sets: registry, folder, expected counts and validation split."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from dml._options import check_known
from dml._registry import Registry
from dml._storage.places import data_folder, expanded
from dml._text import number_of
from dml.datasets._splits import check_test, check_validation
from dml.datasets.items import Items
from dml.errors import DataError, MissingDataError

_FEW_CLASSES = 5  # below, validation by images is recommended

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
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
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
    named_by_root: ClassVar[bool] = False  # whether messages call it by its folder or file

    def __post_init__(self):
        check_validation(self.validation_fraction, self.validation_seed, self.validation)
        protocol = getattr(self, "protocol", self.protocols[0])
        check_known(self.protocols, protocol=protocol)

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
        train, val = (set(items.select(split).label_names) for split in ("train", "val"))
        classes = number_of(len(val | train), "training class")
        if self.validation_fraction and not val:
            yield "no validation: it needs 4 images of a class"
        elif 0 < len(val) < _FEW_CLASSES and not val & train:
            advice = ": --dataset.validation images holds out images of every class instead"
            yield (
                f"validation has {len(val)} of {classes}, too few for a reliable R@1"
                f"{'' if self.validation == 'images' else advice}"
            )
        elif val & train and self.validation == "classes" and items.protocol == "zero-shot":
            yield (
                f"validation has images of every class: {self.validation_fraction:.0%} of "
                f"{classes} is fewer than two classes. Its R@1 is not that of new classes"
            )

    def read(self) -> Items:
        """Returns the data set's own splits."""
        raise NotImplementedError

    def expected_key(self) -> str:
        """Returns the key of `expected` that these options choose."""
        return getattr(self, "protocol", self.protocols[0])

    def check_counts(self, items: Items, expected: dict[str, int]) -> None:
        """Raises an error for a data set with too few or too many images.

        Raises:
            DataError: The number of images in a split is not the expected one.
        """
        for split, wanted in expected.items():
            found = int(np.sum(items.splits == split))
            if found != wanted:
                raise DataError(
                    self.folder(),
                    f"{self.name} has {number_of(found, f'{split} image')} where the original has "
                    f"{wanted:,}; unpack the original archive again",
                )

    def absolute_root(self) -> str:
        """Returns `root` as an absolute path if it exists, and unchanged otherwise."""
        path = expanded(self.root)
        return os.path.abspath(path) if self.root and path.exists() else self.root

    def folder(self) -> Path:
        """Returns the data set's folder.

        Raises:
            MissingDataError: It does not exist, or neither `root` nor DML_DATA is set.
        """
        if self.root:
            path = expanded(self.root)
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


@dataclass(frozen=True)
class _UserDataset(DatasetPart):
    """Images of the user's own, with a test split held out if they come without one.

    Args:
        test_fraction: Share of the classes, or of each one's images, in the test split. In [0, 1).
        test_seed: Seed of this selection. At least 0.
        protocol: `zero-shot` tests on other classes, `seen-class` on other images of the same
            classes.
    """

    test_fraction: float = 0.2
    test_seed: int = 0
    protocol: str = "zero-shot"

    protocols: ClassVar[tuple[str, ...]] = ("zero-shot", "seen-class")
    named_by_root: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check_test(self.test_fraction, self.test_seed)
