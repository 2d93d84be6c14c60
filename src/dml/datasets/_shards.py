"""Data sets in shards, files that hold many images each: finding the shards, and their splits."""

import glob
import os
import re
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import ClassVar

from dml.datasets._splits import SPLIT_NAMES, VALIDATION_TESTS, protocol_of, split_named
from dml.datasets.base import _UserDataset
from dml.datasets.items import Items
from dml.errors import DataError, MissingDataError, OptionError
from dml.images import ImageRef
from dml.images._files import LITTER, LeftOut

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
        split: What the data say about its split; None if they say nothing.
    """

    image: ImageRef
    place: str
    label: Hashable
    split: str | None = None


@dataclass(frozen=True)
class ShardedDataset(_UserDataset):
    """Images in shards. Subclasses have `suffixes` and implement `samples`.

    Args:
        label: Field that holds the class.
        image: Field that holds the image; empty takes the only one.
        split: Field that holds the split; empty takes it from the names of shards and folders.
    """

    label: str = ""
    image: str = ""
    split: str = ""

    suffixes: ClassVar[tuple[str, ...]] = ()
    refused: ClassVar[dict[str, str]] = {}  # suffix of files that can't be read -> what to do

    def samples(self, shard: Shard, left_out: LeftOut) -> Iterator[Sample]:
        """Yields the images of a shard; those that are left out are counted.

        Raises:
            DataError: The shard is damaged, or an image has no class.
        """
        raise NotImplementedError

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
        for place, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if _is_seen(name))
            wanted = (*self.suffixes, *self.refused)
            found += [
                os.path.join(place, name)
                for name in names
                if _is_seen(name) and name.lower().endswith(wanted)
            ]
        return sorted(found, key=lambda path: path.split(os.sep))

    def folder(self) -> Path:
        return Path(os.path.expanduser(self.root))

    def read(self) -> Items:
        left_out, notes = LeftOut(), []
        images, ids, labels, splits = [], [], [], []
        for shard in self.shards():
            before = len(images)
            for sample in self.samples(shard, left_out):
                images.append(str(sample.image))
                ids.append(f"{shard.name}!{sample.place}")
                labels.append(sample.label)
                splits.append(self._split_of(sample, shard))
            if len(images) == before:
                there = f"; {left_out}" if left_out else ""
                raise DataError(shard.path, f"no images in it{there}")
        if left_out:
            notes.append(str(left_out))
        names = self.class_names(labels)
        if set(splits) <= {"train", None}:
            items = Items.build(images, names, "train", ids, self.protocol, notes=notes)
            return items.with_test(self.test_fraction, self.test_seed)
        if None in splits:
            one, other = (
                next(i for i, split in zip(ids, splits, strict=True) if (split is None) == unnamed)
                for unnamed in (True, False)
            )
            raise DataError(
                self.root,
                f"{one.partition('!')[0]} names no split, while {other.partition('!')[0]} does: "
                "rename one, or name the field of the split by --dataset.split",
            )
        if not {"test", "query"} & set(splits):
            splits = ["test" if split == "val" else split for split in splits]
            notes.append(VALIDATION_TESTS.format("val"))
        return Items.build(images, names, splits, ids, protocol_of(names, splits), notes=notes)

    def _split_of(self, sample, shard):
        if not self.split:
            return shard.split
        split = split_named(sample.split)
        if split is None:
            raise DataError(
                shard.path,
                f"{sample.place}: split must be one of {', '.join(SPLIT_NAMES)}; got "
                f"{sample.split!r}",
            )
        return split


def split_of(name: str) -> str | None:
    """Returns the split that a shard's folders, or else a word of its file name, say; or None."""
    *folders, file = name.split(os.sep)
    for folder in folders:
        if (split := split_named(folder)) is not None:
            return split
    words = [word.lower() for word in WORDS.findall(file.partition(".")[0])]
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
            raise MissingDataError(path, "missing; set --dataset.root to a file, folder or pattern")
    return list(dict.fromkeys(found))


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


def _is_seen(name):
    return not name.startswith(".") and not LITTER.fullmatch(name)
