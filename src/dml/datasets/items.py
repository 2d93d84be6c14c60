"""The table that every data set is read into: one row per image."""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from dml._arrays import first_repeated, object_array
from dml._options import check_known
from dml.datasets._splits import PROTOCOLS, SPLITS, check_validation, in_one_form
from dml.errors import ArrayError, OptionError
from dml.images._files import require_utf8


@dataclass(frozen=True, eq=False)
class Items:
    """The path, class and split of each image.

    Args:
        paths: Strings (N,), each for `dml.images.read_image`.
        labels: int32 codes (N,) in [0, C), each of which occurs.
        class_names: The C names, in the order of their codes.
        splits: Strings (N,), each one of `SPLITS`.
        ids: Unique strings (N,) that stay the same when the data set is moved.
        protocol: The evaluation protocol of these splits, one of `PROTOCOLS`.
        super_labels: int32 codes (N,) of the category of each image's class; None if the data set
            has no categories.
        notes: Lines for the user about how the data set was read.
        cameras: Objects (N,): the name of the camera of each image, None where it is unknown; None
            if the data set has no cameras.
        sequences: The same of the sequence (a video, a burst of photos) of each image.
        separator: What is between the labels of an image in the name of its class, if an image may
            have several: a class is then a set of labels. Empty if each image has one.
    """

    paths: np.ndarray
    labels: np.ndarray
    class_names: tuple[Any, ...]
    splits: np.ndarray
    ids: np.ndarray
    protocol: str
    super_labels: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    cameras: np.ndarray | None = None
    sequences: np.ndarray | None = None
    separator: str = ""

    @classmethod
    def build(
        cls,
        paths: Sequence[Any],
        names: Sequence[Hashable],
        splits: str | Sequence[str],
        ids: Sequence[Any],
        protocol: str,
        super_names: Sequence[Hashable] | None = None,
        notes: Iterable[str] = (),
        cameras: Sequence[str | None] | np.ndarray | None = None,
        sequences: Sequence[str | None] | np.ndarray | None = None,
        separator: str = "",
    ) -> "Items":
        """Returns the table of rows whose classes have names of any hashable type.

        Codes follow the order of the names, or of their text where the types differ.

        Args:
            paths: N paths.
            names: N class names: strings, integers of any size, tuples.
            splits: N splits, or one for all.
            ids: N unique strings.
            protocol: One of `PROTOCOLS`.
            super_names: N names of the categories of the classes; None if there are none.
            notes: Lines for the user about how the data set was read.
            cameras: N names of cameras, None where it is unknown; None if there are none.
            sequences: The same of sequences.
            separator: What is between the labels in a name; empty if there is one.

        Raises:
            ArrayError: The lengths differ, an id occurs twice, or a name is missing.
            DataError: A path is not UTF-8.
            OptionError: A split or the protocol is unknown.
        """
        path_of, id_of = object_array(paths), object_array(ids)
        require_utf8(path_of)
        if isinstance(splits, str):
            splits = [splits] * len(path_of)
        split_of = np.asarray(splits, dtype=str)
        class_names, labels = _factorise(names)
        if not len(path_of) == len(labels) == len(split_of) == len(id_of):
            lengths = f"{len(path_of)}, {len(labels)}, {len(split_of)}, {len(id_of)}"
            raise ArrayError(f"paths, names, splits and ids must have equal lengths; got {lengths}")
        if unknown := sorted(set(split_of.tolist()) - set(SPLITS)):
            raise _unknown_split(unknown[0])
        check_known(PROTOCOLS, protocol=protocol)
        if (twice := first_repeated(map(str, id_of))) is not None:
            raise ArrayError(f"the id {str(id_of[twice])!r} occurs more than once")
        super_labels = None
        if super_names is not None:
            _, super_labels = _factorise(super_names)
            if len(super_labels) != len(labels):
                raise ArrayError(
                    f"super_names must be as many as names, {len(labels)}; got {len(super_labels)}"
                )
        return cls(
            path_of,
            labels,
            class_names,
            split_of,
            id_of,
            protocol,
            super_labels,
            tuple(notes),
            _names_or_none(cameras, len(labels)),
            _names_or_none(sequences, len(labels)),
            separator,
        )

    def __len__(self) -> int:
        return len(self.paths)

    def select(self, *splits: str) -> "Items":
        """Returns the rows of these splits, in order, their labels re-coded to 0..C'-1.

        Raises:
            OptionError: A split is unknown; a split without rows is not an error.
        """
        if unknown := [split for split in splits if split not in SPLITS]:
            raise _unknown_split(unknown[0])
        return self.take(np.isin(self.splits, splits))

    def take(self, rows: np.ndarray | Sequence[int]) -> "Items":
        """Returns the rows of a mask or list of rows, their labels re-coded to 0..C'-1."""
        present, labels = np.unique(self.labels[rows], return_inverse=True)
        return replace(
            self,
            paths=self.paths[rows],
            labels=labels.astype("int32"),
            class_names=tuple(self.class_names[code] for code in present),
            splits=self.splits[rows],
            ids=self.ids[rows],
            super_labels=None if self.super_labels is None else self.super_labels[rows],
            cameras=None if self.cameras is None else self.cameras[rows],
            sequences=None if self.sequences is None else self.sequences[rows],
        )

    @property
    def label_sets(self) -> list[frozenset[Any]]:
        """The labels of each class: its name, or those of which the name is made."""
        if not self.separator:
            return [frozenset([name]) for name in self.class_names]
        return [frozenset(str(name).split(self.separator)) for name in self.class_names]

    @property
    def label_names(self) -> tuple[Any, ...]:
        """The different labels: the names of the classes, or the labels of which these are sets."""
        if not self.separator:
            return self.class_names
        return tuple(sorted(set().union(*self.label_sets)))

    @property
    def search_labels(self) -> np.ndarray:
        """The labels (N,) for `dml.evaluation.retrieval`: class codes, or sets of labels."""
        if not self.separator:
            return self.labels
        sets = np.empty(len(self.class_names), dtype=object)
        sets[:] = self.label_sets
        return sets[self.labels]

    def memberships(self) -> np.ndarray:
        """Returns which labels the classes have, float32 (classes, labels) of 0 and 1."""
        column = {name: place for place, name in enumerate(self.label_names)}
        table = np.zeros((len(self.class_names), len(column)), "float32")
        for row, labels in enumerate(self.label_sets):
            table[row, [column[name] for name in labels]] = 1
        return table

    def label_counts(self, rows: np.ndarray | None = None) -> np.ndarray:
        """Returns how many images have each label, integers (labels,).

        Args:
            rows: The rows of the images; None for all.
        """
        labels = self.labels if rows is None else self.labels[rows]
        counts = np.bincount(labels, minlength=len(self.class_names))
        if not self.separator:
            return counts
        return np.rint(counts @ self.memberships()).astype("int64")

    def alike(self, labels: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Returns whether classes are the same or, as sets of labels, have one in common.

        Args:
            labels: Class codes of any shape.
            others: Class codes of this shape.
        """
        if not self.separator:
            return labels == others
        bits = self._label_bits
        return np.asarray((bits[labels] & bits[others]).any(axis=-1))

    @cached_property
    def _label_bits(self):
        return np.packbits(self.memberships() > 0, axis=1)

    def left_out_keys(self, exclude: str) -> np.ndarray | None:
        """Returns keys for `dml.evaluation.retrieval`, whose search leaves equal ones out.

        Args:
            exclude: `none`; `camera` or `sequence` leaves out the images of a query's class that
                its camera took, or that are of its sequence.

        Returns:
            Objects (N,), None for an image that leaves none out; None for `none`.

        Raises:
            OptionError: The data set has no cameras or sequences.
        """
        if exclude == "none":
            return None
        if self.separator:
            raise OptionError(
                "evaluation.exclude",
                f"is {exclude}, which leaves out images of a query's class, but images have "
                "several labels here: set it to none",
            )
        names = {"camera": self.cameras, "sequence": self.sequences}[exclude]
        if names is None:
            raise OptionError(
                "evaluation.exclude",
                f"is {exclude}, but the data set has no {exclude}s: give it a column "
                f"{exclude}, or set it to none",
            )
        keys = np.empty(len(self), dtype=object)
        keys[:] = [
            None if name is None else (label, name)
            for label, name in zip(self.labels.tolist(), names.tolist(), strict=True)
        ]
        return keys

    def with_validation(self, fraction: float, seed: int = 0, by: str = "classes") -> "Items":
        """Returns the table with a part of the training split moved to the split `val`.

        Whole classes are moved, so that validation resembles a zero-shot test; or a share of each
        class's images, which suits few classes and is what `seen-class` always does: its test is
        on the training classes. A table that already has a `val` split keeps it.

        Args:
            fraction: Share of the training classes, or of each one's images, in [0, 1). Of a
                class's images at least two move and two stay, since a query needs another image of
                its class, and of fewer than four images none moves. 0 moves none.
            seed: Seed of the choice; any integer that is at least 0.
            by: `classes` or `images`. Where the share is fewer than two classes, or fewer than two
                would stay, images move: among those of a single class there is nothing to find.

        Raises:
            OptionError: An option is out of its range.
        """
        check_validation(fraction, seed, by)
        if "val" in self.splits:
            return self
        classes = len(np.unique(self.labels[self.splits == "train"]))
        if round(fraction * classes) < 2 or classes < 4:
            by = "images"
        return self.set_apart("val", fraction, seed, by, least=2)

    def with_test(self, fraction: float, seed: int = 0) -> "Items":
        """Returns the table with a part of the training split moved to the split `test`.

        Whole classes are moved; under `seen-class`, a share of each class's images.

        Args:
            fraction: Share of the classes, or of each one's images, in [0, 1). At least two
                classes move and two stay: with a single one every metric is 100. Of a class's
                images at least two move and two stay, and of fewer than four none moves. 0 moves
                none.
            seed: Seed of the choice; any integer that is at least 0.

        Raises:
            OptionError: There are too few classes, or too few images of each.
        """
        items = self.set_apart("test", fraction, seed, "classes", least=2)
        if fraction == 0 or "test" in items.splits:
            return items
        if self.protocol == "seen-class":
            raise OptionError(
                "dataset.test_fraction",
                "can't be met: no class has the 4 images that a test on 2 needs. Add images, or "
                "set it to 0 to train without a test",
            )
        if len(self.class_names) == 1:
            raise OptionError(
                "dataset.test_fraction",
                f"can't be met: there is only one class, {self.class_names[0]}. Give two or more, "
                "or set it to 0",
            )
        raise OptionError(
            "dataset.test_fraction",
            f"can't be met: {len(self.class_names)} classes are too few to train on 2 and test on "
            "2 others. Set dataset.protocol to seen-class to test on other images of the same "
            "classes, or dataset.test_fraction to 0 to train without a test",
        )

    def set_apart(self, split: str, fraction: float, seed: int, by: str, least: int) -> "Items":
        """Returns the table with a share of the training split moved to another split."""
        if fraction == 0:
            return self
        train = self.splits == "train"
        generator = np.random.Generator(np.random.PCG64(seed))
        splits = self.splits.astype("<U7")
        if self.separator:  # any images: sets of labels may all be different
            rows = np.flatnonzero(train)
            splits[generator.permutation(rows)[: _share(fraction, len(rows), least=2)]] = split
        elif by == "images" or self.protocol == "seen-class":
            for code in np.unique(self.labels[train]):
                rows = np.flatnonzero(train & (self.labels == code))
                splits[generator.permutation(rows)[: _share(fraction, len(rows), least=2)]] = split
        else:
            codes = np.unique(self.labels[train])
            chosen = generator.permutation(codes)[: _share(fraction, len(codes), least)]
            splits[train & np.isin(self.labels, chosen)] = split
        return replace(self, splits=splits)


def _names_or_none(names, count):
    """Returns `count` names, some of which may be None, as objects (N,); None for None.

    Raises:
        ArrayError: There are more or fewer.
    """
    if names is None:
        return None
    if len(names) != count:
        raise ArrayError(f"cameras and sequences must be {count}, one an image; got {len(names)}")
    import pandas as pd

    array = np.empty(count, dtype=object)
    array[:] = [None if pd.isna(name) else str(name) for name in names]
    return array


def _unknown_split(split):
    return OptionError("split", f"must be one of {', '.join(SPLITS)}; got {split!r}")


def _share(fraction: float, count: int, least: int) -> int:
    """Returns how many of `count` to move: about `fraction`, at least `least` each move and stay.

    Returns 0 if there are too few.
    """
    return min(max(round(fraction * count), least), count - least) if count >= 2 * least else 0


def _factorise(names: Iterable[Any]) -> tuple[tuple[Any, ...], np.ndarray]:
    """Returns (the different names in order, text in one form; their int32 codes (N,)).

    Raises:
        ArrayError: A name is None or NaN.
    """
    names = [name.item() if isinstance(name, np.generic) else name for name in names]
    for row, name in enumerate(names):
        if name is None or name != name:
            raise ArrayError(f"row {row} has no class name")
    forms = {name: in_one_form(name) for name in set(names)}
    distinct = set(forms.values())
    try:
        ordered = sorted(distinct)
    except TypeError:
        ordered = sorted(distinct, key=lambda name: (type(name).__name__, str(name)))
    code = {name: number for number, name in enumerate(ordered)}
    return tuple(ordered), np.array([code[forms[name]] for name in names], dtype="int32")
