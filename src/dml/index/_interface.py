"""The interface of indexes, wherever they store their vectors."""

from __future__ import annotations

import abc
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from dml._options import check_integer, check_interval, check_list
from dml._storage.columns import fitted
from dml._text import number_of
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import ArrayError, DataError, FilterError
from dml.index._items import Item, as_vectors, check_unit, check_vectors, prepare_items
from dml.index._kinds import MOST_GROWN, Recall, SearchParameters

if TYPE_CHECKING:
    import pandas as pd


class Neighbour(NamedTuple):
    """An item near a query.

    Attributes:
        similarity: Cosine similarity, in [-1, 1].
        item: A dictionary of the item's fields, with `id`, `path` and `label`.
    """

    similarity: float
    item: Item


@dataclasses.dataclass(frozen=True)
class IndexInfo:
    """Describes an index.

    Args:
        items: Number of items.
        dimension: Length of a vector.
        kind: Kind of index.
        search_parameters: Search parameters, tuned when the index was built.
        recall: The recall at 10 that they reach.
        fields: Names of the items' fields.
        encoder: SHA-256 of the encoder that computed the vectors.
        removed: Removed items that still take up space; None if unknown, as in Milvus.
        labels: Number of different labels; None if unknown.
        bytes: Size on disk; None if unknown.
    """

    items: int
    dimension: int
    kind: str
    search_parameters: SearchParameters
    recall: Recall
    fields: tuple[str, ...]
    encoder: str
    removed: int | None = None
    labels: int | None = None
    bytes: int | None = None

    def __str__(self) -> str:
        """Returns two or three lines of text."""
        lines = [
            number_of(self.items, "item")
            + (f" of {number_of(self.labels, 'label')}" if self.labels is not None else "")
            + f", {self.dimension} numbers each"
            + (f", {self.bytes / 2**20:.1f} MiB" if self.bytes is not None else "")
        ]
        if self.kind == "flat":
            return "\n".join([*lines, "flat: every search is exact"])
        parameters = f" ({self.search_parameters})" if self.search_parameters.to_json() else ""
        measured, target = self.recall.measured, self.recall.target
        found = f"{measured:.3f} measured" if self.recall.queries else "not measured"
        if self.recall.queries and self.items > MOST_GROWN * self.recall.rows:  # as in Milvus
            found += f" among {self.recall.rows:,} items"
        lines += [f"{self.kind}{parameters}: recall@10 {found}, target {target:g}"]
        if measured < target:
            lines += ["the recall is below the target: choose another kind"]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """Returns the known values as a dictionary for JSON."""
        values = {
            "items": self.items,
            "removed": self.removed,
            "dimension": self.dimension,
            "kind": self.kind,
            "search_parameters": self.search_parameters.to_json(),
            "recall_at_10": self.recall.measured,
            "recall_target": self.recall.target,
            "fields": list(self.fields),
            "labels": self.labels,
            "encoder": self.encoder,
            "bytes": self.bytes,
        }
        return {name: value for name, value in values.items() if value is not None}


class Index(abc.ABC):
    """Finds the nearest of many vectors, and the items that they belong to.

    An item is a dictionary: `id`, `path`, `label` and your own fields, of the types of JSON,
    None for missing values. A filter is a text such as `label in ["cat", "dog"] and price < 10`,
    or None for all items.
    """

    @property
    @abc.abstractmethod
    def location(self) -> str:
        """The location of the index, as `dml.index.open_index` takes it."""

    @property
    @abc.abstractmethod
    def dimension(self) -> int:
        """The length of a vector."""

    @property
    @abc.abstractmethod
    def encoder_sha256(self) -> str:
        """SHA-256 of the encoder that computed the vectors."""

    @property
    @abc.abstractmethod
    def field_types(self) -> dict[str, type]:
        """Field -> Python type of its values: `str`, `int`, `float` or `bool`."""

    @property
    def fields(self) -> list[str]:
        """Names of the items' fields."""
        return list(self.field_types)

    @abc.abstractmethod
    def __len__(self) -> int:
        """Returns the number of items."""

    @abc.abstractmethod
    def encoder(
        self, bundle: str | os.PathLike[str] | None = None, threads: int | None = None
    ) -> OnnxEncoder:
        """Returns the encoder to search with.

        Args:
            bundle: The bundle's folder; by default the index's own.
            threads: Number of processors that one call uses; all if None.

        Raises:
            DataError: The bundle is not the one that the index was built with.
            OptionError: The index stores no encoder, and `bundle` is None.
        """

    def search(
        self, queries: np.ndarray, k: int = 10, where: str | None = None
    ) -> list[list[Neighbour]]:
        """Returns the nearest items of each query, nearest first.

        Args:
            queries: Float32 (Q, D), of unit length.
            k: Number of neighbours; positive.
            where: A filter.

        Returns:
            For each query, a list of at most k neighbours.

        Raises:
            OptionError: `k` is no positive integer.
            FilterError: The filter can't be read.
            ArrayError: The queries are of another shape, not finite, or not of length 1.
        """
        return self._search(self._check_queries(queries, k), int(k), where)

    @abc.abstractmethod
    def _search(self, queries: np.ndarray, k: int, where: str | None) -> list[list[Neighbour]]:
        """Searches with checked arguments."""

    @abc.abstractmethod
    def item(self, id: str) -> Item:
        """Returns an item.

        Args:
            id: The item's id.

        Raises:
            UnknownNameError: There is no such item.
        """

    @abc.abstractmethod
    def vector(self, id: str) -> np.ndarray:
        """Returns the vector, float32 (D,), of an item.

        Args:
            id: The item's id.

        Raises:
            UnknownNameError: There is no such item.
        """

    @abc.abstractmethod
    def page(
        self, where: str | None = None, offset: int = 0, limit: int = 50
    ) -> tuple[list[Item], int]:
        """Returns some of the items that a filter keeps, and how many it keeps in all.

        Args:
            where: A filter.
            offset: Number of items before the first one returned; at least 0.
            limit: Largest number of items returned; positive. In Milvus, `offset` + `limit` is at
                most 16,384.

        Returns:
            A list of items, and the number that the filter keeps.

        Raises:
            FilterError: The filter can't be read.
            OptionError: `offset` + `limit` is more than Milvus returns.
        """

    @abc.abstractmethod
    def sample(
        self, where: str | None = None, count: int = 24, seed: int = 0
    ) -> tuple[list[Item], int]:
        """Returns a random sample of the items that a filter keeps, and how many it keeps in all.

        One item of each label comes before a second of any; the same seed gives the same sample of
        the same index.

        Args:
            where: A filter.
            count: Number of items; positive.
            seed: At least 0.

        Returns:
            A list of items, and the number that the filter keeps.

        Raises:
            FilterError: The filter can't be read.
        """

    @abc.abstractmethod
    def ids(self, where: str | None) -> list[str]:
        """Returns the ids of the items that a filter keeps.

        Args:
            where: A filter.

        Raises:
            FilterError: The filter can't be read.
        """

    @abc.abstractmethod
    def ids_of(self, paths: Sequence[str]) -> dict[str, str]:
        """Returns path -> id for each of the paths that exactly one item has.

        Args:
            paths: Paths, as items have them.
        """

    @abc.abstractmethod
    def has_label(self, label: str) -> bool:
        """Returns whether an item has a label.

        Args:
            label: The label.
        """

    @abc.abstractmethod
    def labelled(self, ids: Sequence[str]) -> set[str]:
        """Returns those of the ids whose item has a label.

        Args:
            ids: Ids, of items or not.
        """

    @abc.abstractmethod
    def labels(self, limit: int) -> list[str]:
        """Returns at most `limit` labels of the items, sorted.

        Args:
            limit: Largest number of labels; positive. Milvus has those of the first 16,384 items.
        """

    @abc.abstractmethod
    def changing(self) -> AbstractContextManager[None]:
        """Returns a context that keeps other writers out.

        `add` and `remove` enter it themselves; callers enter it before long work that ends in a
        change.

        Raises:
            BusyError: Another process is changing the index.
        """

    def add(self, items: pd.DataFrame, vectors: np.ndarray) -> tuple[int, int]:
        """Adds items; those whose id is in the index already replace the older ones.

        A field without a value in the new item keeps that of the older one.

        Args:
            items: A pandas DataFrame with `id`, `path`, `label` and your own fields.
            vectors: Float32 (N, D), of unit length.

        Returns:
            How many were new and how many were replaced.

        Raises:
            ValueError: Ids are not unique, a field does not fit, or vectors are of another shape
                or not of length 1.
        """
        items = self.prepare_items(items)
        vectors = as_vectors(vectors, "vectors")
        check_vectors(vectors, len(items), self.dimension)
        with self.changing():
            replaced = self._insert(items, vectors)
        return len(items) - replaced, replaced

    def prepare_items(self, items: pd.DataFrame) -> pd.DataFrame:
        """Returns items in the form in which they are stored.

        Args:
            items: As `add` takes them.

        Raises:
            ValueError: Ids are not unique, or a field does not fit; the message names it.
        """
        return fitted(prepare_items(items), self._settled_types(), self.location)

    def _settled_types(self) -> Mapping[str, type | None]:
        """Returns the types that the fields of added items must have, None for any."""
        return self.field_types

    @abc.abstractmethod
    def _insert(self, items: pd.DataFrame, vectors: np.ndarray) -> int:
        """Adds checked items; returns how many were replaced."""

    def remove(self, ids: Iterable[str] = (), where: str | None = None) -> int:
        """Removes items, and returns how many.

        Args:
            ids: Ids of items.
            where: A filter; the items that it keeps are removed, too.

        Raises:
            OptionError: `ids` is a single id.
            UnknownNameError: An id is not in the index; nothing is removed then.
            FilterError: The filter keeps no item, or can't be read.
        """
        check_list(ids=ids)
        with self.changing():
            ids = list(ids)
            if where is not None:
                found = self.ids(where)
                if not found:
                    raise FilterError(f"{self.location}: no item matches {where!r}")
                ids += found
            ids = list(dict.fromkeys(ids))
            if ids:
                self._remove(ids)
        return len(ids)

    @abc.abstractmethod
    def _remove(self, ids: list[str]) -> None:
        """Removes the items of some ids: at least one, and all different."""

    @abc.abstractmethod
    def info(self) -> IndexInfo:
        """Describes the index."""

    @abc.abstractmethod
    def verify(self) -> None:
        """Performs the checks that opening the index leaves out.

        Raises:
            DataError: It is damaged.
        """

    @abc.abstractmethod
    def reload_if_changed(self) -> Index | None:
        """Returns the current index if others have changed it since it was opened, or None.

        This object stays unchanged.

        Raises:
            DataError, StorageError: It can't be reopened.
        """

    def check_encoder(self, encoder: OnnxEncoder) -> None:
        """Raises DataError if another encoder computed the vectors."""
        if encoder.sha256 != self.encoder_sha256:
            raise DataError(
                self.location,
                f"built with another encoder than {encoder.path}, so similarities would be "
                "meaningless. Build the index again with this one",
            )

    def _check_queries(self, queries, k):
        """Returns queries as contiguous float32 (Q, D)."""
        check_integer(1, k=k)
        queries = as_vectors(queries, "queries")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ArrayError(f"queries must be (Q, {self.dimension}) numbers; got {queries.shape}")
        check_unit(queries, "queries")
        return queries


def check_recall(recall: float) -> None:
    """Raises OptionError if a recall is out of its range."""
    check_interval("(0, 1]", recall=recall)
