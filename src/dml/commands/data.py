"""`dml data`: checks a data set on disk, or downloads it."""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING

from dml._text import number_of
from dml.commands._command import Command
from dml.errors import DataError
from dml.reporting import Reporter

if TYPE_CHECKING:
    import numpy as np

    from dml.datasets import DatasetPart, Items
    from dml.datasets._checking import Duplicates

_EPILOG = "Options of the data set are flags, too: --dataset.validation_fraction 0.3."
NAMED = 10  # examples listed for each problem; the rest are counted
SIDES = (64, 128, 192, 256, 384, 512, 768, 1024, 2048)  # bounds of the histogram, in pixels


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "get"), help="check the images, or download")
    parser.add_argument(
        "name", metavar="DATASET", help="a data set's name, a folder, a table or shards"
    )


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.recipe import load_dataset

    dataset = load_dataset(options.name, options.flags)
    if options.action == "check":
        _check(dataset, reporter)
    else:
        from dml.datasets import download

        download(dataset, reporter)


def _check(dataset: "DatasetPart", reporter: Reporter) -> None:
    """Prints counts, unreadable images, classes without a match, exact duplicates and sizes."""
    from dml.datasets import check_images

    items = dataset.items()
    name = dataset.name or type(dataset).__name__
    reporter.info(f"{name} ({items.protocol}): {number_of(len(items), 'image')}")
    for split in dict.fromkeys(items.splits.tolist()):
        part = items.select(split)
        images = number_of(len(part), "image", width=8)
        reporter.info(f"  {split:8} {images} of {number_of(len(part.label_names), 'class')}")
    for note in items.notes:
        reporter.info(note)
    result = check_images(items, reporter=reporter)
    lines = [
        *_named("unreadable images", list(map(str, result.unreadable.values()))),
        *_named("classes with an image without a match", result.lone_classes),
        *_duplicates("bytes", result.equal_bytes, items),
        *_duplicates("decoded pixels", result.equal_pixels, items),
        *_histogram(result.shorter_sides),
    ]
    for line in lines:
        reporter.info(line)
    if result.unreadable:
        whole = number_of(len(items), "image")
        raise DataError(name, f"{len(result.unreadable):,} of {whole} can't be read, as above")


def _named(title: str, entries: "list[str] | tuple[str, ...]") -> Iterator[str]:
    yield f"{title}: {len(entries):,}"
    for entry in entries[:NAMED]:
        yield f"  {entry}"
    if len(entries) > NAMED:
        yield f"  and {len(entries) - NAMED:,} more"


def _duplicates(title: str, found: "Duplicates", items: "Items") -> Iterator[str]:
    yield (
        f"images with equal {title}: {found.images:,} in {number_of(len(found.groups), 'group')}, "
        f"{len(found.leaks):,} of which are in more than one split"
    )
    for rows in found.leaks[:NAMED]:
        yield "  " + ", ".join(f"{items.ids[row]} ({items.splits[row]})" for row in rows)


def _histogram(shorter: "np.ndarray") -> Iterator[str]:
    """Yields the lines of a histogram of the images' shorter sides."""
    import numpy as np

    if not len(shorter):
        return
    yield f"shorter side: {shorter.min()} to {number_of(shorter.max(), 'pixel')}"
    places = np.digitize(shorter, SIDES)
    counts = np.bincount(places, minlength=len(SIDES) + 1)
    for place in range(places.min(), places.max() + 1):
        low = SIDES[place - 1] if place else 0
        high = f"-{SIDES[place] - 1}" if place < len(SIDES) else "+"
        bar = "#" * round(40 * counts[place] / counts.max())
        yield f"  {f'{low}{high}':>10} {counts[place]:>8,} {bar}"


COMMAND = Command(
    "data",
    "check a data set, or download it",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    takes_flags=True,
)
