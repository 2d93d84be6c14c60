"""A record of the images that a run was trained on: the split and the digest of each."""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dml._arrays import object_array
from dml._storage.atomic import atomic_path
from dml._text import number_of
from dml._threads import reading_threads
from dml.datasets._splits import PROTOCOLS, SPLITS, in_one_form
from dml.datasets.items import Items
from dml.errors import DataError, MissingDataError
from dml.images import ImageError, ImageRef

SMALL = 32  # pixels to which a JPEG may be reduced if decoding only checks that it is intact
BLOCK = 1024  # images whose digests are computed at once
SEEN = ("train", "val")  # the splits on which weights and the best epoch are chosen
COLUMNS = {"id", "class", "label", "split", "sha256", "protocol"}


@dataclass(frozen=True, eq=False)
class RecordedItems:
    """The items of a run when it was trained.

    Args:
        items: Items whose class names are text.
        digests: Strings (N,): the SHA-256 of each image's bytes, box and mask; empty for an image
            that could not be read, which the run does not use.
    """

    items: Items
    digests: np.ndarray

    @classmethod
    def of(
        cls,
        items: Items,
        threads: int | None = None,
        advance: Callable[[int], None] | None = None,
        unreadable: dict[int, str] | None = None,
    ) -> "RecordedItems":
        """Returns the record of items; every image is read and decoded once.

        Args:
            items: The items.
            threads: Threads that read, positive; None for one per processor, at most 16.
            advance: Called with the number of images done since its last call.
            unreadable: A dictionary to which {row: reason} of the images that can't be read is
                added; they are recorded without a digest. If None, such an image is an error.

        Raises:
            ImageError: An image can't be read.
        """
        digests = image_digests(items.paths, threads, advance, unreadable, decode=True)
        return cls(replace(items, class_names=tuple(map(str, items.class_names))), digests)

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the record as a Parquet file."""
        import pandas as pd

        items = self.items
        table = {
            "id": items.ids,
            "class": object_array([items.class_names[code] for code in items.labels]),
            "label": items.labels,
            "split": items.splits,
            "sha256": self.digests,
            "protocol": items.protocol,
        }
        if items.super_labels is not None:
            table["super_label"] = items.super_labels
        if items.separator:
            table["separator"] = items.separator
        with atomic_path(path) as temporary:
            pd.DataFrame(table).to_parquet(temporary, index=False)

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "RecordedItems":
        """Returns what `write` wrote; the paths are the ids, since the images may have moved.

        Raises:
            MissingDataError: There is no such file.
            DataError: It is damaged.
        """
        import pandas as pd

        if not Path(path).exists():
            raise MissingDataError(
                path, "missing; it records what the run was trained on: train it again"
            )
        try:
            table = pd.read_parquet(path)
        except (ValueError, OSError, NotImplementedError) as error:  # pyarrow's are of these
            raise DataError(path, f"damaged: {error}") from None
        if not _is_record(table):
            raise DataError(path, "damaged, or not a run's record of its images")
        labels = table["label"].to_numpy("int32")
        names = dict(zip(labels.tolist(), table["class"], strict=True))
        items = Items(
            paths=table["id"].to_numpy(object),
            labels=labels,
            class_names=tuple(names[code] for code in range(len(names))),
            splits=table["split"].to_numpy(str),
            ids=table["id"].to_numpy(object),
            protocol=str(table["protocol"].iloc[0]),
            super_labels=table["super_label"].to_numpy("int32") if "super_label" in table else None,
            separator=str(table["separator"].iloc[0]) if "separator" in table else "",
        )
        return cls(items, table["sha256"].to_numpy(object))

    def compare(
        self,
        now: Items,
        splits: Sequence[str] = SPLITS,
        threads: int | None = None,
        advance: Callable[[int], None] | None = None,
    ) -> "tuple[Items, Changes]":
        """Returns the recorded items that are unchanged, and the changes since.

        Images that were added later, have another content or class now, or could not be read when
        the run was trained are left out: they might be of a class that was trained on.

        Args:
            now: Items of the same data set today, whose splits are ignored.
            splits: Splits whose images are read and compared; the others are compared by id and
                class.
            threads: As of `RecordedItems.of`.
            advance: Called with the number of images read since its last call.
        """
        old = self.items
        place = {name: row for row, name in enumerate(now.ids)}
        rows = np.array([place.get(name, -1) for name in old.ids], "int64")
        there = rows >= 0
        classes = object_array(now.class_names)[now.labels]
        before = object_array(list(map(in_one_form, old.class_names)))[old.labels]
        same = there.copy()
        same[there] = classes[rows[there]] == before[there]
        read = np.flatnonzero(same & np.isin(old.splits, splits))
        digests = image_digests(now.paths[rows[read]], threads, advance, unreadable={})
        same[read] = digests == self.digests[read]
        readable = self.digests != ""
        left = replace(
            old,
            paths=np.where(there, now.paths[rows], old.paths),
            cameras=None if now.cameras is None else now.cameras[rows],
            sequences=None if now.sequences is None else now.sequences[rows],
        )
        left = left.take(same & readable)
        added = np.ones(len(now), bool)
        added[rows[there]] = False
        return left, Changes(
            added=now.ids[added],
            added_classes=len(set(classes[added])),
            missing=old.take(~there & readable),
            changed=old.take(there & ~same & readable),
        )

    def unreadable(self) -> dict[str, int]:
        """Returns {split: images that could not be read} for the splits that have any."""
        return dict(Counter(self.items.splits[self.digests == ""].tolist()))

    def seen_in(self, items: Items, digests: Sequence[str] | np.ndarray) -> dict[str, int]:
        """Returns how many classes and images of other items occurred in training or validation.

        Args:
            items: The other items.
            digests: Their digests, as from `image_digests`.

        Returns:
            {"classes": classes whose name, as text, is that of a training or validation class,
            "images": exact copies of training or validation images}.
        """
        seen = np.isin(self.items.splits, SEEN)
        names, others = (
            {in_one_form(str(name)) for name in part.label_names}
            for part in (self.items.take(seen), items)
        )
        known = set(self.digests[seen]) - {""}
        return {
            "classes": len(names & others),
            "images": sum(digest in known for digest in digests),
        }


@dataclass(frozen=True, eq=False)
class Changes:
    """How a data set differs from a run's record of it.

    Args:
        added: Ids of images that are not in the record.
        added_classes: The number of their classes.
        missing: Recorded items that do not exist any more.
        changed: Recorded items with another content or class.
    """

    added: np.ndarray
    added_classes: int
    missing: Items
    changed: Items

    def __str__(self):
        """One line, empty if nothing has changed."""
        parts = []
        if len(self.added):
            images = number_of(len(self.added), "image")
            classes = number_of(self.added_classes, "class")
            verb = "were" if len(self.added) > 1 else "was"
            parts.append(f"{images} of {classes} {verb} added ({_some(self.added)})")
        for items, verbs in (
            (self.missing, ("is missing", "are missing")),
            (self.changed, ("has changed", "have changed")),
        ):
            if len(items):
                counts = Counter(items.splits.tolist())
                splits = ", ".join(f"{name} {counts[name]:,}" for name in SPLITS if counts[name])
                verb = verbs[len(items) > 1]
                images = number_of(len(items), "image")
                parts.append(f"{images} {verb} ({splits}: {_some(items.ids)})")
        return f"since the training {'; '.join(parts)}" if parts else ""

    def counts(self) -> dict[str, int]:
        """Returns the numbers of images that are "added", "missing" and "changed"."""
        numbers = {"added": self.added, "missing": self.missing, "changed": self.changed}
        return {name: len(images) for name, images in numbers.items()}


def _some(ids):
    """Returns the first id, followed by dots if there are more."""
    return f"{ids[0]}{', ...' if len(ids) > 1 else ''}"


def _is_record(table):
    """Returns whether a table is one that `RecordedItems.write` may have written."""
    if set(table.columns) - {"super_label", "separator"} != COLUMNS or not len(table):
        return False
    labels = table["label"]
    return not (
        table.isna().any(axis=None)
        or not set(table["split"]) <= set(SPLITS)
        or set(table["protocol"]) - set(PROTOCOLS)
        or table["protocol"].nunique() > 1
        or labels.dtype.kind != "i"
        or set(labels) != set(range(labels.nunique()))
        or len(table[["label", "class"]].drop_duplicates()) != labels.nunique()
        or table["id"].duplicated().any()
    )


def image_digests(
    paths: Sequence[str] | np.ndarray,
    threads: int | None,
    advance: Callable[[int], None] | None = None,
    unreadable: dict[int, str] | None = None,
    decode: bool = False,
) -> np.ndarray:
    """Returns `ImageRef.digest` of images, strings (N,), read by threads.

    Args:
        paths: Texts that `dml.images.ImageRef.parse` takes.
        threads: Threads that read, positive; None for one per processor, at most 16.
        advance: Called with the number of images done since its last call.
        unreadable: A dictionary to which {row: reason} of the images that can't be read is added;
            their digests are empty. If None, such an image is an error.
        decode: Whether to decode the images as well, so that damaged ones count as unreadable.

    Raises:
        ImageError: An image can't be read.
    """

    def digest(row):
        image = ImageRef.parse(str(paths[row]))
        try:
            data = image.read_bytes()
            if decode:
                image.decode(data, SMALL)
            return image.digest(data)
        except ImageError as error:
            if unreadable is None:
                raise
            unreadable[row] = str(error)
            return ""

    found = []
    with ThreadPoolExecutor(reading_threads(threads)) as pool:
        for start in range(0, len(paths), BLOCK):
            found += pool.map(digest, range(start, min(start + BLOCK, len(paths))))
            if advance is not None:
                advance(len(found) - start)
    return object_array(found)
