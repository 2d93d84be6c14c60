"""Checks the images of a data set: unreadable ones, duplicates, those without a match, sizes."""

import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from dml._threads import reading_threads
from dml.datasets.items import Items
from dml.images import ImageError, ImageRef
from dml.reporting import SILENT, Reporter


@dataclass(frozen=True)
class Duplicates:
    """Images that occur more than once.

    Args:
        groups: The rows of the images of each group of equal ones.
        leaks: The groups whose images lie in more than one split.
    """

    groups: tuple[tuple[int, ...], ...]
    leaks: tuple[tuple[int, ...], ...]

    @property
    def images(self) -> int:
        """Images in all groups."""
        return sum(map(len, self.groups))


@dataclass(frozen=True, eq=False)
class ImageCheck:
    """The result of reading every image of a data set.

    Args:
        unreadable: The error of each image that can't be read, by row.
        lone_classes: Names of the classes with an image that has no other to find: with a single
            one, or a single one in the split `val` or `test`, or queries but none in the gallery.
        equal_bytes: Images whose files, boxes and masks are equal.
        equal_pixels: Images that are equal when decoded.
        shorter_sides: Integers (N,): pixels of each readable image's shorter side.
    """

    unreadable: dict[int, ImageError]
    lone_classes: tuple[str, ...]
    equal_bytes: Duplicates
    equal_pixels: Duplicates
    shorter_sides: np.ndarray


@dataclass(frozen=True)
class _Scan:
    data: str  # digests
    pixels: str
    shorter_side: int


def check_images(
    items: Items, threads: int | None = None, reporter: Reporter = SILENT
) -> ImageCheck:
    """Reads and decodes every image, and looks for duplicates and images without a match.

    Args:
        items: The images.
        threads: Threads that read, positive; None for one per processor, at most 16.
        reporter: Shows the progress.
    """
    scans = []
    with (
        ThreadPoolExecutor(reading_threads(threads)) as pool,
        reporter.progress("reading", len(items)) as advance,
    ):
        for found in pool.map(_scan, items.paths):
            scans.append(found)
            advance(1)
    readable = {row: found for row, found in enumerate(scans) if isinstance(found, _Scan)}
    return ImageCheck(
        unreadable={row: f for row, f in enumerate(scans) if isinstance(f, ImageError)},
        lone_classes=_lone_classes(items),
        equal_bytes=_duplicates({row: f.data for row, f in readable.items()}, items.splits),
        equal_pixels=_duplicates({row: f.pixels for row, f in readable.items()}, items.splits),
        shorter_sides=np.array([f.shorter_side for f in readable.values()], int),
    )


def _lone_classes(items: Items) -> tuple[str, ...]:
    """Returns the names of the classes with an image that has no other to find."""
    val, test, queries, gallery = (
        items.label_counts(items.splits == split) for split in ("val", "test", "query", "gallery")
    )
    lone = (items.label_counts() == 1) | (val == 1) | (test == 1) | (queries > 0) & (gallery == 0)
    return tuple(str(items.label_names[code]) for code in np.flatnonzero(lone))


def _scan(path: str) -> _Scan | ImageError:
    image = ImageRef.parse(path)
    try:
        data = image.read_bytes()
        pixels, digest = image.decode(data), image.digest(data)
    except ImageError as error:
        return error
    shape = str(pixels.shape).encode()
    return _Scan(
        digest,
        hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).hexdigest(),
        min(pixels.shape[:2]),
    )


def _duplicates(digests: dict[int, str], splits: np.ndarray) -> Duplicates:
    rows_of = defaultdict(list)
    for row, digest in digests.items():
        rows_of[digest].append(row)
    groups = tuple(tuple(rows) for rows in rows_of.values() if len(rows) > 1)
    leaks = tuple(rows for rows in groups if len({str(splits[row]) for row in rows}) > 1)
    return Duplicates(groups, leaks)
