"""What a data set holds and what is wrong with it, in five lines."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dml.datasets import ImageCheck, Items, check_images
from dml.datasets._splits import SPLITS
from dml.reporting import SILENT, Reporter

MOST = 5000  # images that are read: of a larger data set, so many of its images, drawn at random


@dataclass(frozen=True, eq=False)
class Look:
    """A data set as it was found.

    Args:
        name: What it is called.
        items: All its images.
        looked_at: Those that were read.
        check: What was found in them.
    """

    name: str
    items: Items
    looked_at: Items
    check: ImageCheck

    def readable(self) -> Items:
        """Returns the images without those that were found to be unreadable."""
        damaged = self.looked_at.ids[list(self.check.unreadable)]
        return self.items.take(~np.isin(self.items.ids, damaged))

    def lines(self) -> Iterator[str]:
        """Yields five lines."""
        items, check = self.items, self.check
        sides, whole = check.shorter_sides, len(self.looked_at) == len(items)
        among = "" if whole else f" among {len(self.looked_at):,} images drawn at random"
        size = f", {_range(sides)} pixels on the shorter side" if len(sides) else ""
        classes = _counted(len(items.label_names), "class", "es")
        yield f"{self.name}: {len(items):,} images of {classes}{size}"
        counts = items.label_counts()
        lone = int((counts == 1).sum())
        single = f"; {_counted(lone, 'class', 'es')} with a single one" if lone else ""
        yield f"images a class: {_range(counts)}, median {np.median(counts):g}{single}"
        yield f"splits ({items.protocol}): {', '.join(_splits(items))}"
        reasons = [str(error) for error in check.unreadable.values()]
        yield f"unreadable images{among}: {_some(len(reasons), reasons)}"
        pixels = check.equal_pixels
        leaks = [
            " = ".join(f"{self.looked_at.ids[row]} ({self.looked_at.splits[row]})" for row in rows)
            for rows in pixels.leaks
        ]
        between = f"; in more than one split: {_some(len(leaks), leaks)}" if leaks else ""
        extra = pixels.images - len(pixels.groups)
        yield f"copies of other images{among}: {f'{extra:,}' if extra else 'none'}{between}"


def look_at(
    items: Items, name: str, threads: int | None = None, reporter: Reporter = SILENT
) -> Look:
    """Reads the images of a data set, at most `MOST`, and returns what they are like.

    Args:
        items: Its images.
        name: What it is called.
        threads: Threads that read, positive; None for one per processor, at most 16.
        reporter: Shows the progress.
    """
    looked_at = items
    if len(items) > MOST:
        rows = np.random.default_rng(0).choice(len(items), MOST, replace=False)
        looked_at = items.take(np.sort(rows))
    return Look(name, items, looked_at, check_images(looked_at, threads, reporter))


def _splits(items: Items) -> Iterator[str]:
    for name in SPLITS:
        part = items.select(name)
        if len(part):
            classes = _counted(len(part.label_names), "class", "es")
            yield f"{name} {_counted(len(part), 'image', 's')} of {classes}"


def _range(numbers: np.ndarray) -> str:
    """Returns the smallest and the largest of integers."""
    return " to ".join(f"{end:,}" for end in sorted({int(numbers.min()), int(numbers.max())}))


def _counted(count: int, noun: str, plural: str) -> str:
    return f"{count:,} {noun}{plural * (count != 1)}"


def _some(count: int, examples: Sequence[str]) -> str:
    """Returns a count with the first example; "none" for 0."""
    if not count:
        return "none"
    return f"{count:,} ({examples[0]}{', ...' if count > 1 else ''})"
