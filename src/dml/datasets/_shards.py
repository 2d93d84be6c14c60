"""Data sets in shards, files that hold many images each: finding the shards, and their splits."""

import glob
import os
import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from dml._storage.remote import is_url
from dml.datasets._files import unread_columns
from dml.datasets._label_sets import check_held_out, protocol_of_sets, sets_of_labels
from dml.datasets._regions import SOURCE_COLUMNS, parts_of
from dml.datasets._splits import (
    SPLIT_NAMES,
    VALIDATION_TESTS,
    check_complete,
    split_named,
    without_partial,
)
from dml.datasets.base import _UserDataset
from dml.datasets.items import Items
from dml.errors import DataError, MissingDataError, OptionError
from dml.images import ImageRef
from dml.images._files import LeftOut, folders_below, is_seen

if TYPE_CHECKING:
    import pandas as pd

MOST_SHARDS = 100_000  # that a pattern may name
RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}|\{([^{}]*,[^{}]*)\}")  # {000..015} or {a,b}
WORDS = re.compile(r"[^\W\d_]+")  # of a shard's name


@dataclass(frozen=True)
class Shard:
    """A file that holds images.

    Args:
        path: Its path.
        name: Its path relative to the folder of all shards, which stays when they move.
        split: The split that its name or folder says, or None.
    """

    path: str
    name: str
    split: str | None


@dataclass(frozen=True)
class Sample:
    """An image in a shard.

    Args:
        image: A reference to it.
        place: What tells it from the others in its shard.
        label: Its class.
        split: What the data say about its split, perhaps an empty text; None if they have no
            splits.
        columns: Further ones of those that a table may have: the numbers of a box, the names of a
            camera and a sequence, and a mask as a reference.
    """

    image: ImageRef
    place: str
    label: Hashable
    split: str | None = None
    columns: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ShardedDataset(_UserDataset):
    """Images in shards. Subclasses have `suffixes` and implement `samples`.

    Args:
        label: Field that holds the class.
        image: Field that holds the image; empty takes the only one.
        split: Field that holds the split; empty takes it from the names of shards and folders.
        label_separator: As for `Table`.
    """

    label: str = ""
    image: str = ""
    split: str = ""
    label_separator: str = ""

    suffixes: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[dict[str, str]] = {}  # suffix of files that can't be read -> what to do

    def samples(self, shard: Shard, left_out: LeftOut) -> Iterator[Sample]:
        """Yields the images of a shard; those that are left out are counted.

        Raises:
            DataError: The shard is damaged, or an image has no class.
        """
        raise NotImplementedError

    def unread(self, shard: Shard) -> list[str]:
        """Returns the names of a shard's columns that are not read."""
        return []

    def notes_on(self, shards: Sequence[Shard]) -> list[str]:
        """Returns what there is to say about the shards; all have the columns of the first."""
        unread = self.unread(shards[0])
        return [unread_columns(unread)] if unread else []

    def class_names(self, labels: list[Hashable]) -> list[Hashable]:
        """Returns the classes of all images, whose labels are given."""
        return labels

    def absolute_root(self) -> str:
        return os.path.abspath(os.path.expanduser(self.root)) if self.root else ""

    def shards(self) -> list[Shard]:
        """Returns the shards that `root` names, in order of their names.

        Raises:
            MissingDataError: There is none, or one of them is missing.
            DataError: One is compressed.
        """
        if not self.root:
            kinds = " or ".join(self.suffixes)
            raise MissingDataError(
                self.name, f"set --dataset.root to a {kinds} file, a folder of them or a pattern"
            )
        root = os.path.expanduser(self.root)
        if os.path.isdir(root):
            folder, paths = root, self._below(root)
        elif os.path.exists(root):
            folder, paths = os.path.dirname(root), [root]
        else:
            folder, paths = fixed_folder(root), _matching(root)
        for path in paths:
            for suffix, advice in self.refused.items():
                if path.lower().endswith(suffix):
                    raise DataError(path, advice)
        if not paths:
            raise MissingDataError(root, f"no {' or '.join(self.suffixes)} files there")
        names = [os.path.relpath(path, folder) for path in paths]
        return [Shard(p, n, split_of(n)) for p, n in zip(paths, names, strict=True)]

    def _below(self, folder):
        """Returns the shards below a folder; files and folders that are hidden are left out."""
        found = []
        wanted = (*self.suffixes, *self.refused)
        for place, _, names in folders_below(folder):
            found += [
                os.path.join(place, name)
                for name in names
                if is_seen(name) and name.lower().endswith(wanted)
            ]
        return sorted(found, key=lambda path: path.split(os.sep))

    def folder(self) -> Path:
        return Path(os.path.expanduser(self.root))

    def read(self) -> Items:
        left_out, shards = LeftOut(), self.shards()
        notes = self.notes_on(shards)
        samples, ids, splits = [], [], []
        for shard in shards:
            before = len(samples)
            for sample in self.samples(shard, left_out):
                samples.append(sample)
                ids.append(f"{shard.name}!{sample.place}")
                splits.append(self._split_of(sample, shard))
            if len(samples) == before:
                there = f"; {left_out}" if left_out else ""
                raise DataError(shard.path, f"no images in it{there}")
        if left_out:
            notes.append(str(left_out))
        frame = _frame_of(samples)
        images, unit = parts_of([s.image for s in samples], frame, self.root, ids.__getitem__)
        if unit:
            notes.append(unit)
        names = sets_of_labels(
            self.class_names([sample.label for sample in samples]),
            self.label_separator,
            lambda row, text: DataError(self.root, f"{ids[row]} {text}"),
        )
        has_splits = not set(splits) <= {"train", None}
        if has_splits and None in splits:
            one, other = (
                next(i for i, split in zip(ids, splits, strict=True) if (split is None) == unnamed)
                for unnamed in (True, False)
            )
            raise DataError(
                self.root,
                f"{one.partition('!')[0]} names no split, while {other.partition('!')[0]} does: "
                "rename one, or name the field of the split by --dataset.split",
            )
        check_complete({split for split in splits if split}, self.root)
        if has_splits and not {"test", "query"} & set(splits):
            splits = ["test" if split == "val" else split for split in splits]
            notes.append(VALIDATION_TESTS.format("val"))
        listed = [split or "train" for split in splits]
        items = Items.build(
            list(map(str, images)),
            names,
            listed,
            ids,
            protocol_of_sets(names, listed, self.label_separator) if has_splits else self.protocol,
            notes=notes,
            separator=self.label_separator,
            **{f"{name}s": frame[name].tolist() for name in SOURCE_COLUMNS if name in frame},
        )
        fractions = self.test_fraction, self.validation_fraction
        check_held_out(items, has_splits, *fractions, self.validation)
        return items if has_splits else items.with_test(self.test_fraction, self.test_seed)

    def _split_of(self, sample, shard):
        if not self.split and (shard.split or sample.split is None):
            return shard.split
        split = split_named(sample.split)
        if split is None:
            raise DataError(
                shard.path,
                f"{sample.place}: split must be one of {', '.join(SPLIT_NAMES)}; got "
                f"{repr(sample.split)[:60]}",
            )
        return split


def _frame_of(samples: Sequence[Sample]) -> "pd.DataFrame":
    """Returns the columns of samples, empty where a sample has none of that name."""
    import pandas as pd

    names = dict.fromkeys(name for sample in samples for name in sample.columns)
    columns = {name: [sample.columns.get(name) for sample in samples] for name in names}
    return pd.DataFrame(columns, index=range(len(samples)), dtype=object)


def split_of(name: str) -> str | None:
    """Returns the split that a shard's folders, or else a word of its file name, say; or None."""
    *folders, file = name.split(os.sep)
    for folder in map(without_partial, folders):
        if (split := split_named(folder)) is not None:
            return split
    words = map(str.lower, WORDS.findall(file))  # no suffix of a shard is one of a split's
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def is_pattern(path: str) -> bool:
    """Returns whether a path has `*`, `?`, `[...]` or a range in braces."""
    return glob.has_magic(path) or RANGE.search(path) is not None


def fixed_folder(pattern: str) -> str:
    """Returns the folder of all files that a pattern can match."""
    parts = os.path.dirname(pattern).split(os.sep)
    return os.sep.join(takewhile(lambda part: not is_pattern(part), parts))


def _matching(pattern):
    """Returns the files that a pattern matches; those that it names must exist.

    Raises:
        MissingDataError: One is missing.
        OptionError: It names too many.
    """
    found = []
    for path in _expanded(pattern):
        if glob.has_magic(path):
            found += sorted(glob.glob(path, recursive=True))
        elif os.path.isfile(path):
            found.append(path)
        else:
            raise MissingDataError(path, _advice_on(path))
    return list(dict.fromkeys(found))


def _advice_on(path):
    """Returns what to do about a shard that is missing."""
    if is_url(path):
        return (
            "shards at URLs can't be read: copy them here, or list images at URLs in the column "
            "path of a table"
        )
    return "missing; set --dataset.root to a file, folder or pattern"


def _expanded(pattern):
    """Returns the patterns that a pattern with ranges in braces stands for."""
    patterns = [pattern]
    while (first := RANGE.search(patterns[0])) is not None:
        low, high, words = first.groups()
        if words is None:
            count, width = int(high) - int(low) + 1, len(low) if low[0] == "0" else 0
            steps = range(int(low), int(high) + 1)
        else:
            count, width = words.count(",") + 1, 0
            steps = words.split(",")
        if not 0 < count * len(patterns) <= MOST_SHARDS:
            raise OptionError(
                "dataset.root", f"must name 1 to {MOST_SHARDS:,} shards; got {pattern}"
            )
        patterns = [
            f"{before}{str(step).zfill(width)}{after}"
            for each in patterns
            for before, after in [_around(each)]
            for step in steps
        ]
    return patterns


def _around(pattern):
    """Returns what is before and after the first range of a pattern."""
    first = RANGE.search(pattern)
    return pattern[: first.start()], pattern[first.end() :]
