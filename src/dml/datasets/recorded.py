"""What a run was trained on: the split of each image, and a digest by which it is known again."""

import hashlib
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from dml._storage.atomic import atomic_path
from dml.datasets.items import PROTOCOLS, SPLITS, Items, object_array
from dml.images import ImageError, ImageRef

SMALL = 32  # pixels to which a JPEG may be decoded where it is only to be seen whether it can be
BLOCK = 1024  # images whose digests are asked for at once
SEEN = ("train", "val")  # the splits that choose weights, and the epoch that is kept
COLUMNS = {"id", "class", "label", "split", "sha256", "protocol"}


@dataclass(frozen=True, eq=False)
class RecordedItems:
    """The items of a run as they were when it was trained.

    Args:
        items: `Items` whose class names are text.
        digests: Strings (N,): SHA-256 of each image's bytes; empty of one that could not be read,
            which no split of the run has.
    """

    items: Items
    digests: np.ndarray

    @classmethod
    def of(cls, items, threads=2, advance=None, faults=None):
        """Returns the record of items, every image of which is read and decoded once.

        Args:
            items: `Items`.
            threads: Threads that read; positive.
            advance: Called with the number of images done since its last call; None for silence.
            faults: A dictionary that takes {row: reason} of the images that can't be read, which
                are recorded as such. If None, such an image is an error.

        Raises:
            ImageError: An image can't be read.
        """
        digests = image_digests(items.paths, threads, advance, faults, decode=True)
        return cls(replace(items, class_names=tuple(map(str, items.class_names))), digests)

    def write(self, path):
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
        with atomic_path(path) as temporary:
            pd.DataFrame(table).to_parquet(temporary, index=False)

    @classmethod
    def read(cls, path):
        """Returns what `write` wrote; the paths are the ids, for they may have moved since.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: It is damaged.
        """
        import pandas as pd

        if not path.exists():
            raise FileNotFoundError(
                f"{path} is missing, which says what the run was trained on: train it again"
            )
        try:
            table = pd.read_parquet(path)
        except (ValueError, OSError, NotImplementedError) as error:  # pyarrow's are of these
            raise ValueError(f"{path}: damaged: {error}") from None
        if faulty(table):
            raise ValueError(f"{path}: damaged, or not a run's record of its images")
        labels = table["label"].to_numpy("int32")
        names = dict(zip(labels.tolist(), table["class"], strict=True))
        items = Items(
            paths=table["id"].to_numpy(object),
            labels=labels,
            class_names=tuple(names[code] for code in range(len(names))),
            splits=table["split"].to_numpy(str),
            ids=table["id"].to_numpy(object),
            protocol=table["protocol"][0],
            super_labels=table["super_label"].to_numpy("int32") if "super_label" in table else None,
        )
        return cls(items, table["sha256"].to_numpy(object))

    def found(self, now, splits=SPLITS, threads=2, advance=None):
        """Returns (`Items`, `Changes`): what is left of the recorded items, and what is not.

        An image that has come since has no part in it, nor has one of another content or class: in
        a test it might be of a class that was trained on. Nor has one that could not be read.

        Args:
            now: `Items` of the same data set today, whose splits are of no account.
            splits: Splits whose images are read and compared; others are looked for by id and
                class.
            threads: Threads that read.
            advance: Called with the number of images read since its last call.
        """
        old = self.items
        place = {name: row for row, name in enumerate(now.ids)}
        rows = np.array([place.get(name, -1) for name in old.ids], "int64")
        there = rows >= 0
        classes = object_array(now.class_names)[now.labels]
        before = object_array(old.class_names)[old.labels]
        same = there.copy()
        same[there] = classes[rows[there]] == before[there]
        read = np.flatnonzero(same & np.isin(old.splits, splits))
        digests = image_digests(now.paths[rows[read]], threads, advance, faults={})
        same[read] = digests == self.digests[read]
        readable = self.digests != ""
        left = replace(old, paths=np.where(there, now.paths[rows], old.paths))
        left = left.take(same & readable)
        came = np.ones(len(now), bool)
        came[rows[there]] = False
        return left, Changes(
            came=now.ids[came],
            came_classes=len(set(classes[came])),
            gone=old.take(~there & readable),
            changed=old.take(there & ~same & readable),
        )

    def unreadable(self):
        """Returns {split: number of its images that could not be read}, without those of none."""
        return dict(Counter(self.items.splits[self.digests == ""].tolist()))

    def seen_in(self, items, digests):
        """Returns {"classes", "images"}: how many of other items the training has seen.

        Args:
            items: `Items`.
            digests: As of `image_digests`.

        Returns:
            The number of their classes whose name, as text, is a training or validation class's,
            and of their images that are exact copies of training or validation images.
        """
        seen = np.isin(self.items.splits, SEEN)
        names = {self.items.class_names[code] for code in np.unique(self.items.labels[seen])}
        known = set(self.digests[seen]) - {""}
        return {
            "classes": len(names & set(map(str, items.class_names))),
            "images": sum(digest in known for digest in digests),
        }


@dataclass(frozen=True, eq=False)
class Changes:
    """How a data set differs from a run's record of it.

    Args:
        came: Ids of images that were not there.
        came_classes: Of how many classes these are.
        gone: Recorded `Items` that are not there any more.
        changed: Recorded `Items` whose content or class is another one.
    """

    came: np.ndarray
    came_classes: int
    gone: Items
    changed: Items

    def __str__(self):
        """One line, empty where nothing has changed."""
        parts = []
        if len(self.came):
            classes = f"{self.came_classes:,} class{'es' * (self.came_classes > 1)}"
            verb = "have" if len(self.came) > 1 else "has"
            parts.append(f"{images(self.came)} of {classes} {verb} come ({some(self.came)})")
        for items, verbs in (
            (self.gone, ("is gone", "are gone")),
            (self.changed, ("has changed", "have changed")),
        ):
            if len(items):
                counts = Counter(items.splits.tolist())
                splits = ", ".join(f"{name} {counts[name]:,}" for name in SPLITS if counts[name])
                verb = verbs[len(items) > 1]
                parts.append(f"{images(items)} {verb} ({splits}: {some(items.ids)})")
        return f"since the training {'; '.join(parts)}" if parts else ""

    def counts(self):
        """Returns {"came", "gone", "changed"}: numbers of images."""
        return {"came": len(self.came), "gone": len(self.gone), "changed": len(self.changed)}


def images(rows):
    return f"{len(rows):,} image{'s' * (len(rows) != 1)}"


def some(ids):
    """Returns the first of some ids, and a sign that there are more."""
    return f"{ids[0]}{', ...' if len(ids) > 1 else ''}"


def faulty(table):
    """Returns whether a table is no record of items."""
    if set(table.columns) - {"super_label"} != COLUMNS or not len(table):
        return True
    labels = table["label"]
    return (
        table.isna().any(axis=None)
        or not set(table["split"]) <= set(SPLITS)
        or set(table["protocol"]) - set(PROTOCOLS)
        or table["protocol"].nunique() > 1
        or labels.dtype.kind != "i"
        or set(labels) != set(range(labels.nunique()))
        or len(table[["label", "class"]].drop_duplicates()) != labels.nunique()
        or table["id"].duplicated().any()
    )


def image_digests(paths, threads, advance=None, faults=None, decode=False):
    """Returns the SHA-256 of the bytes of images, strings (N,), read by threads.

    Args:
        paths: Texts that `dml.images.ImageRef.parse` takes.
        threads: Threads that read; positive.
        advance: Called with the number of images done since its last call; None for silence.
        faults: A dictionary that takes {row: reason} of the images that can't be read, whose
            digests are empty. If None, such an image is an error.
        decode: Whether to decode them, too, so that damaged ones can't be read.

    Raises:
        ImageError: An image can't be read.
    """

    def digest(row):
        image = ImageRef.parse(paths[row])
        try:
            data = image.read_bytes()
            if decode:
                image.decode(data, SMALL)
        except ImageError as error:
            if faults is None:
                raise
            faults[row] = str(error)
            return ""
        return hashlib.sha256(data).hexdigest()

    found = []
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(paths), BLOCK):
            found += pool.map(digest, range(start, min(start + BLOCK, len(paths))))
            if advance is not None:
                advance(len(found) - start)
    return object_array(found)
