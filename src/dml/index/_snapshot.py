"""One state of an index in a folder, read and checked as a whole."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from dml._storage.columns import kinds_of, read_parquet, typed
from dml._storage.index_folder import FileEntry, HashedFile, IndexFolder, Manifest
from dml.errors import DataError, UnknownNameError
from dml.index._filters import matching
from dml.index._items import Item, item_of
from dml.index._kinds import (
    CODED_KINDS,
    CodedKind,
    Recall,
    SearchParameters,
    compare,
    read_parameters,
    rescore,
)

LARGEST_EXACT = 20_000  # rows up to which comparing each is faster than codes with a filter
FEW_QUERIES = 4  # for which comparing some rows one by one is faster than copying these rows
BLOCK = 65_536  # rows compared at once where some are left out
TIED = 32  # rows compared beyond the k nearest, so that equals don't depend on k
RETRIES = 20
RETRY_SECONDS = 0.05
REMOVED = "dml:removed"  # a column of the items' file that is not a field


@dataclass(frozen=True, eq=False)
class LoadedFiles:
    """Files of an index that have been read and need not be read again.

    Args:
        vectors: The hashed file of the vectors.
        codes_entry: Entry of the file of codes; None if there are no codes.
        codes: The FAISS index in it.
    """

    vectors: HashedFile
    codes_entry: FileEntry | None
    codes: Any


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One immutable state of an index in a folder; later changes do not affect it.

    Args:
        folder: The folder of the index.
        manifest: Its manifest.
        parameters: The search parameters.
        recall: The recall that they reach.
        vectors: Float32 (N, D), mapped into memory, including those of removed items.
        items: A pandas DataFrame (N, fields).
        present: Booleans (N,), false for removed items.
        codes: The FAISS index of the vectors; None for `flat`.
        row_of: Id -> row of the items that are present.
        files: Files that reading a later state can reuse.
    """

    folder: IndexFolder
    manifest: Manifest
    parameters: SearchParameters
    recall: Recall
    vectors: np.ndarray
    items: pd.DataFrame
    present: np.ndarray
    codes: Any
    row_of: dict[str, int]
    files: LoadedFiles

    @functools.cached_property
    def field_types(self) -> dict[str, type]:
        """Field -> Python type."""
        return kinds_of(self.items)

    @functools.cached_property
    def settled_types(self) -> dict[str, type | None]:
        """Field -> Python type; None for fields without a value, which may get any type."""
        items, own = self.items, ("id", "path", "label")
        settled = {name: name in own or bool(items[name].notna().any()) for name in items}
        return {name: kind if settled[name] else None for name, kind in self.field_types.items()}

    @functools.cached_property
    def columns(self) -> list:
        """The values of each field, in a form that is fast to index by row."""
        return [self.items[name].array for name in self.items]

    @functools.cached_property
    def labels(self) -> set[str]:
        """The different labels of the items."""
        return set(self.items["label"].array[self.present].dropna())

    def mask(self, where: str | None) -> np.ndarray:
        """Returns which rows a filter keeps, booleans (N,)."""
        return self.present if where is None else self.present & matching(where, self.items)

    def rows(self, where: str | None) -> np.ndarray:
        """Returns the rows that a filter keeps, int64."""
        return np.flatnonzero(self.mask(where))

    def row(self, id: str) -> int:
        """Returns the row of an id.

        Raises:
            UnknownNameError: There is no such item.
        """
        if id not in self.row_of:
            raise UnknownNameError(f"{self.folder.path} has no item {id!r}")
        return self.row_of[id]

    def item(self, row: int) -> Item:
        """Returns the item of a row."""
        return item_of(self.field_types, (values[row] for values in self.columns))

    def nearest(
        self, queries: np.ndarray, k: int = 10, where: str | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Returns the similarities float32 (Q, K) and rows int64 (Q, K) of the nearest items.

        Args:
            queries: Float32 (Q, D), of unit length.
            k: Number of neighbours; positive. K is smaller if there are fewer items.
            where: A filter.
        """
        keep = self.mask(where)
        left = int(keep.sum())
        k = min(k, left)
        if not k:
            return np.empty((len(queries), 0), "float32"), np.empty((len(queries), 0), "int64")
        everything = left == len(keep)
        kind = self._useful_kind(left, everything, where is None)
        if kind is None:
            return self._exact(queries, k, None if everything else np.flatnonzero(keep))
        similarities, rows = kind.search(
            self.codes, self.vectors, queries, k, self.parameters, None if everything else keep
        )
        if (rows < 0).any():  # the codes found too few of the rows that the filter keeps
            return self._exact(queries, k, np.flatnonzero(keep))
        return similarities, rows

    def _useful_kind(self, count, everything, unfiltered) -> CodedKind | None:
        """Returns the kind of the codes; None if comparing all vectors is faster or necessary.

        Args:
            count: Rows that may be returned.
            everything: Whether these are all rows.
            unfiltered: Whether these are all rows that are present.
        """
        kind = CODED_KINDS.get(self.manifest.kind)
        if kind is None or self.codes is None or not (unfiltered or kind.filters):
            return None
        if count <= LARGEST_EXACT:  # where a walk through a graph is still faster
            return kind if everything and kind.exact_similarities else None
        return kind

    def _exact(self, queries, k, rows=None):
        """Returns the nearest among some rows, or all, by exhaustive comparison.

        Of equal similarities, such as those of copies, the earlier rows come first; a few more
        than k are compared for that. For many queries, rows are copied, which a product of matrices
        makes up for.
        """
        wider = k + TIED
        if rows is None:
            similarities, found = compare(self.vectors, queries, min(wider, len(self.vectors)))
        elif len(queries) <= FEW_QUERIES:
            similarities, found = rescore(self.vectors, queries, rows[None], min(wider, len(rows)))
        else:
            best = []
            for start in range(0, len(rows), BLOCK):
                some = rows[start : start + BLOCK]
                near = compare(self.vectors[some], queries, min(wider, len(some)))
                best.append((near[0], some[near[1]]))
            similarities, found = (np.concatenate(side, axis=1) for side in zip(*best, strict=True))
        order = np.lexsort((found, -similarities))[:, :k]
        return np.take_along_axis(similarities, order, 1), np.take_along_axis(found, order, 1)


def read_snapshot(folder: IndexFolder, known: LoadedFiles | None = None) -> Snapshot:
    """Reads the state of an index that is on the disk now.

    Args:
        folder: The folder of the index.
        known: Files of an earlier state, which are not read again if unchanged.

    Raises:
        MissingDataError: There is no index.
        DataError: It is damaged.
    """
    missing: object = None
    for _ in range(RETRIES):  # a change may remove files after the manifest was read
        manifest = folder.read_manifest()
        try:
            return _load(folder, manifest, known)
        except FileNotFoundError as error:
            missing = error.filename or error
            if folder.read_manifest() == manifest:
                break
            time.sleep(RETRY_SECONDS)
    raise DataError(folder.path, f"{missing} is missing: the index is damaged")


def _load(folder, manifest, known):
    """Reads the files that a manifest names."""
    entries = manifest.files
    try:
        parameters = read_parameters(manifest.kind, manifest.search)
        recall = Recall(**manifest.recall)
    except (TypeError, ValueError) as error:
        raise DataError(folder.manifest, f"damaged: {error}") from None
    hashed = folder.check(entries["vectors"], known.vectors if known else None)
    shape = (manifest.rows, manifest.dimension)
    vectors = np.empty(shape, "float32")
    if manifest.rows:
        vectors = np.memmap(folder.path / entries["vectors"].name, "float32", "r", shape=shape)
    items, present = _load_items(folder, manifest)
    codes, entry = None, entries.get("codes")
    if entry is not None:
        if known is not None and known.codes_entry == entry:
            codes = known.codes
        elif manifest.kind not in CODED_KINDS:
            raise DataError(folder.manifest, f"damaged: codes of the kind {manifest.kind}")
        else:
            folder.check(entry)
            codes = CODED_KINDS[manifest.kind].read(folder.path / entry.name, shape)
    ids = items["id"].to_numpy()
    return Snapshot(
        folder=folder,
        manifest=manifest,
        parameters=parameters,
        recall=recall,
        vectors=vectors,
        items=items,
        present=present,
        codes=codes,
        row_of={ids[row]: row for row in np.flatnonzero(present).tolist()},
        files=LoadedFiles(hashed, entry, codes),
    )


def _load_items(folder, manifest):
    """Returns the items of an index, and which of them are present."""
    import pyarrow

    entry = manifest.files["items"]
    folder.check(entry)
    path = folder.path / entry.name
    try:
        items = read_parquet(path)
        present = ~items.pop(REMOVED).to_numpy(bool)
        items = typed(items)
    except (pyarrow.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(path, f"damaged: {error}") from None
    if not {"id", "path", "label"} <= set(items) or len(items) != manifest.rows:
        raise DataError(path, f"damaged: not the items of {manifest.rows:,} vectors")
    return items, present
