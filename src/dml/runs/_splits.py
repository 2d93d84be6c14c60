"""The images that a run is evaluated on."""

import os
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dml._storage.atomic import atomic_path
from dml._storage.records import text_sha256
from dml._storage.run_folder import RunFolder
from dml._text import number_of
from dml.datasets import Items, RecordedItems
from dml.datasets._recorded import SEEN, Changes, image_digests
from dml.datasets.base import DatasetPart
from dml.errors import DataError
from dml.images import ImageRef
from dml.recipe import TrainingOptions, options_of
from dml.reporting import Reporter

TESTS = ("test", "query", "gallery")  # splits
COPIES = "byte-for-byte copies of training or validation images of this run: {:,} of {}"


@dataclass(frozen=True)
class TestData:
    """The data set that a run is evaluated on.

    Args:
        dataset: A part of `dml.datasets`.
        is_own: Whether it is the data set that the run was trained on.
    """

    __test__ = False  # for pytest

    dataset: DatasetPart
    is_own: bool

    @property
    def label(self) -> str:
        """What the data set is called: its name, or that of its folder or file."""
        return dataset_label(self.dataset)

    @property
    def folder_name(self) -> str:
        """The name of the evaluation's folder, unique to the data set and its options."""
        part = self.dataset
        if self.is_own:
            return part.name
        options = {option.name: getattr(part, option.name) for option in options_of(type(part))}
        options["root"] = part.root and os.path.realpath(os.path.expanduser(part.root))
        digest = text_sha256([part.name, options])[:8]
        label = re.sub(r"[^\w.-]", "_", self.label)
        return f"{label[:60]}-{digest}"

    def read(
        self,
        folder: RunFolder,
        training: TrainingOptions,
        reporter: Reporter,
        exclude: str = "none",
    ) -> "TestItems":
        """Returns the images to evaluate on, and reports the notes about them.

        Args:
            folder: The run.
            training: Its recipe's: how images are read, and whether unreadable ones are skipped.
            reporter: Receives the notes and the progress.
            exclude: As `evaluation.exclude`; what can't be left out is refused before an image is
                read.

        Raises:
            OptionError: The data set has no cameras or sequences to exclude.
            ImageError: An image can't be read, and the recipe does not skip it.
        """
        recorded = RecordedItems.read(folder.checked(folder.items))
        if self.is_own:
            items = undivided_items(self.dataset)
            items.left_out_keys(exclude)
            found = own_items(recorded, items, training.threads, reporter)
        else:
            items = self.dataset.items()
            items.left_out_keys(exclude)
            skip = training.unreadable == "skip"
            found = other_items(recorded, items, skip, training.threads, reporter)
        for note in found.notes:
            reporter.info(f"note: {note}")
        return found


@dataclass(frozen=True, eq=False)
class TestItems:
    """The images of a data set that a run is evaluated on.

    Args:
        items: Their `Items`.
        protocol: The evaluation protocol: `zero-shot`, `seen-class` or `query-gallery`.
        seen: How many of their "classes" and "images" occurred in training or validation.
        unreadable: {split: images that were left out because they can't be read}.
        since_training: How many images of the run's own data set are new, missing and changed;
            None for other data sets.
        notes: Lines for the user.
    """

    __test__ = False

    items: Items
    protocol: str
    seen: Mapping[str, int]
    unreadable: Mapping[str, int]
    since_training: Mapping[str, int] | None = None
    notes: tuple[str, ...] = field(default=())


def own_items(
    recorded: RecordedItems, now: Items, threads: int | None, reporter: Reporter
) -> TestItems:
    """Returns the test images of a run's own split that are unchanged.

    Args:
        recorded: The images of the training.
        now: Those that the data set has now.
        threads: As for `TestData.read`.
        reporter: Shows the progress.
    """
    splits = (*TESTS, "val", *(["train"] * (recorded.items.protocol == "seen-class")))
    items, changes = _compared(recorded, now, splits, threads, reporter)
    notes = [f"{changes}; only unchanged images are measured"] if str(changes) else []
    if unreadable := recorded.unreadable():
        notes.append(f"left out as unreadable during training: {counted(unreadable)}")
    tests = np.isin(recorded.items.splits, TESTS)
    seen = recorded.seen_in(recorded.items.take(tests), recorded.digests[tests])
    if seen["images"]:
        notes.append(COPIES.format(seen["images"], number_of(tests.sum(), "test image")))
    return TestItems(items, items.protocol, seen, unreadable, changes.counts(), tuple(notes))


def other_items(
    recorded: RecordedItems,
    items: Items,
    skip_unreadable: bool,
    threads: int | None,
    reporter: Reporter,
) -> TestItems:
    """Returns the test images of another data set than the run's; all if it has no test split."""
    if not np.isin(items.splits, TESTS).any():
        items = replace(items, splits=np.full(len(items), "test"), protocol="zero-shot")
    items = items.select(*TESTS, *(SEEN if items.protocol == "seen-class" else ()))
    reasons: dict[int, str] = {}
    with reporter.progress("looking for training images", len(items)) as advance:
        faults = reasons if skip_unreadable else None
        digests = image_digests(items.paths, threads, advance, faults, decode=skip_unreadable)
    notes, readable = [*items.notes], digests != ""
    unreadable = dict(Counter(items.splits[~readable].tolist()))
    if reasons:
        notes.append(f"left out as unreadable: {counted(unreadable)} ({reasons[min(reasons)]})")
    items, digests = items.take(readable), digests[readable]
    rows = np.isin(items.splits, TESTS)
    tested = items.take(rows)
    seen = recorded.seen_in(tested, digests[rows])
    if seen["classes"]:
        notes.append(
            "with the name of a training or validation class of this run, which may be the same "
            f"class: {seen['classes']:,} of {number_of(len(tested.class_names), 'class')}"
        )
    if seen["images"]:
        notes.append(COPIES.format(seen["images"], number_of(len(tested), "test image")))
    protocol = "seen-class" if any(seen.values()) else "zero-shot"
    if items.protocol == "query-gallery":
        protocol = items.protocol
    return TestItems(items, protocol, seen, unreadable, notes=tuple(notes))


def recorded_items(folder: RunFolder) -> Items:
    """Returns the images that a run has recorded and can use, without reading them."""
    recorded = RecordedItems.read(folder.items)
    return recorded.items.take(recorded.digests != "")


def unchanged_items(
    recorded: RecordedItems,
    dataset: DatasetPart,
    splits: tuple[str, ...],
    threads: int | None,
    reporter: Reporter,
) -> tuple[Items, Changes]:
    """Returns a run's `Items` that are unchanged, and the changes; only `splits` are read."""
    return _compared(recorded, undivided_items(dataset), splits, threads, reporter)


def _compared(
    recorded: RecordedItems,
    now: Items,
    splits: tuple[str, ...],
    threads: int | None,
    reporter: Reporter,
) -> tuple[Items, Changes]:
    wanted = int(np.isin(recorded.items.splits, splits).sum())
    with reporter.progress("comparing with the training's images", wanted) as advance:
        return recorded.compare(now, splits, threads, advance)


def undivided_items(dataset: DatasetPart) -> Items:
    """Returns all images that a data set has now, without held-out splits of its own."""
    return replace(dataset, **without_splits(dataset)).items()


def without_splits(dataset: DatasetPart) -> dict[str, float]:
    """Returns the options of a data set that disable held-out splits."""
    options = {"validation_fraction": 0.0}
    if hasattr(dataset, "test_fraction"):
        options["test_fraction"] = 0.0
    return options


def dataset_label(dataset: DatasetPart) -> str:
    """Returns what a data set is called: its name, or that of its folder or file."""
    root = os.path.realpath(os.path.expanduser(dataset.root))
    return Path(root).name or dataset.name if dataset.named_by_root else dataset.name


def counted(counts: Mapping[str, int]) -> str:
    """Returns {split: number} as text."""
    return ", ".join(f"{split} {count:,}" for split, count in counts.items())


@dataclass(frozen=True, eq=False)
class TestSplit:
    """The queries of a test, which search a gallery or each other.

    Args:
        items: Queries and gallery together, so that they share their label codes.
        query_rows: Rows (Q,) of the queries.
        gallery_rows: Rows (G,) of the gallery; those of the queries without one.
        left_out: Keys (N,) of the items: a query does not find items with its own key. None if it
            finds all.
    """

    __test__ = False

    items: Items
    query_rows: np.ndarray
    gallery_rows: np.ndarray
    left_out: np.ndarray | None = None

    @classmethod
    def of(cls, items: Items, name: str, exclude: str) -> "TestSplit":
        """Returns the test split of a data set's items; its class names are text.

        Args:
            items: Items with the split `test`, or `query` and `gallery`.
            name: The data set's name, for messages.
            exclude: As `evaluation.exclude`.

        Raises:
            DataError: There is no test image, or all belong to one class.
            OptionError: The data set has no cameras or sequences to exclude.
        """
        with_gallery = items.protocol == "query-gallery"
        items = items.select(*(("query", "gallery") if with_gallery else ("test",)))
        names = [str(items.class_names[code]) for code in items.labels]
        columns = (items.paths.tolist(), names, items.splits.tolist(), items.ids.tolist())
        items = Items.build(
            *columns,
            items.protocol,
            cameras=items.cameras,
            sequences=items.sequences,
            separator=items.separator,
        )
        queries = gallery = np.arange(len(items))
        if with_gallery:
            queries, gallery = (
                np.flatnonzero(items.splits == side) for side in ("query", "gallery")
            )
        if not len(queries) or not len(gallery):
            raise DataError(
                name,
                "there are no test images to evaluate on: raise dataset.test_fraction, or list a "
                "test split (`dml train` trains without one)",
            )
        if len(only := items.take(gallery).label_names) == 1:
            raise DataError(
                name,
                f"all test images are of one class, {only[0]}, with which "
                "every metric is 100: test on images of two classes or more",
            )
        return cls(items, queries, gallery, items.left_out_keys(exclude))

    @classmethod
    def read(cls, path: Path, protocol: str, name: str, exclude: str) -> "TestSplit":
        """Returns the test split that an evaluation has written as a table.

        Args:
            path: The table.
            protocol: The evaluation's protocol.
            name: The data set's name, for messages.
            exclude: As `evaluation.exclude`.

        Raises:
            DataError: The table is damaged.
        """
        import pandas as pd

        try:
            table = pd.read_parquet(path)
            columns = [table[name].tolist() for name in ("path", "class", "split", "id")]
            cameras, sequences = (
                table[name].tolist() if name in table else None for name in ("camera", "sequence")
            )
            items = Items.build(
                *columns,
                protocol,
                cameras=cameras,
                sequences=sequences,
                separator=str(table["separator"].iloc[0]) if "separator" in table else "",
            )
        except (ValueError, KeyError, OSError, NotImplementedError) as error:
            raise DataError(path, f"damaged; evaluate the run again ({error})") from None
        return cls.of(items, name, exclude)

    @property
    def has_gallery(self) -> bool:
        """Whether the queries search a gallery of its own."""
        return self.items.protocol == "query-gallery"

    @property
    def query_labels(self) -> np.ndarray:
        """Class codes (Q,) of the queries."""
        return self.items.labels[self.query_rows]

    @property
    def gallery_labels(self) -> np.ndarray:
        """Class codes (G,) of the gallery."""
        return self.items.labels[self.gallery_rows]

    @property
    def query_left_out(self) -> np.ndarray | None:
        """Keys (Q,) of the queries; None if they find all of the gallery."""
        return None if self.left_out is None else self.left_out[self.query_rows]

    @property
    def gallery_left_out(self) -> np.ndarray | None:
        """Keys (G,) of the gallery; None if the queries find all of it."""
        return None if self.left_out is None else self.left_out[self.gallery_rows]

    @property
    def has_positives(self) -> bool:
        """Whether any query has another image of its class to find."""
        rows = (self.query_rows, self.gallery_rows) if self.has_gallery else ()
        return has_positives(self.items, self.left_out, *rows)

    def write(self, path: Path):
        """Writes the items as a Parquet table whose row i belongs to vector i."""
        write_items(self.items, path)


def write_items(items: Items, path: Path) -> None:
    """Writes items as a Parquet table: `id`, `path`, `class`, `split`, and camera and sequence."""
    import pandas as pd

    table = pd.DataFrame(
        {
            "id": items.ids,
            "path": [str(ImageRef.parse(path).absolute()) for path in items.paths],
            "class": [items.class_names[code] for code in items.labels],
            "split": items.splits,
        }
    )
    for column, names in (("camera", items.cameras), ("sequence", items.sequences)):
        if names is not None:
            table[column] = names
    if items.separator:
        table["separator"] = items.separator
    with atomic_path(path) as temporary:
        table.to_parquet(temporary, index=False)


def has_positives(
    items: Items,
    left_out: np.ndarray | None = None,
    queries: np.ndarray | None = None,
    gallery: np.ndarray | None = None,
) -> bool:
    """Returns whether any query has an image of its class to find.

    Args:
        items: The images.
        left_out: Their keys (N,), as `Items.left_out_keys` gives them; None if nothing is left out.
        queries: Rows (Q,) of the queries; None for all.
        gallery: Rows (G,) of the gallery; None if the queries search each other.
    """
    rows = np.arange(len(items)) if queries is None else queries
    searched = rows if gallery is None else gallery
    counts, itself = items.label_counts(searched), int(gallery is None)
    if left_out is None:
        return bool(((items.label_counts(rows) > 0) & (counts > itself)).any())
    own = Counter(left_out[searched].tolist())
    return any(
        counts[label] > (itself if key is None else own[key])
        for label, key in zip(items.labels[rows].tolist(), left_out[rows].tolist(), strict=True)
    )
