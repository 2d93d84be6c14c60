"""What every index does, wherever it keeps its vectors."""

import abc

import numpy as np

from dml._storage.columns import fitted, plain, typed


class Index(abc.ABC):
    """Finds the nearest of many vectors, with the items that they are of.

    An item is a dictionary: `id`, `path`, `label` and fields of your own, of types that JSON has,
    None for what is missing. A filter is a text as `dml.index.where.matching` takes it, or None
    for all items.

    Attributes:
        location: Where it is, as `dml.index.open_index` takes it.
        dimension: Numbers in a vector.
        encoder_sha256: Of the encoder that the vectors are of.
        kinds: Names of the items' fields -> their Python type: `str`, `int`, `float`, `bool`.
        fields: These names.
    """

    @abc.abstractmethod
    def __len__(self):
        """Returns the number of items."""

    @abc.abstractmethod
    def encoder(self, bundle=None, threads=None):
        """Returns the `OnnxEncoder` to search with.

        Args:
            bundle: The bundle's folder; by default the index's own.
            threads: Processors that one call uses; all if None.

        Raises:
            ValueError: It is not the one that the index was built with, or there is none.
        """

    def search(self, queries, k=10, where=None):
        """Returns the nearest items of each query, nearest first.

        Args:
            queries: Float32 (Q, D), of unit length.
            k: Neighbours wanted; positive.
            where: A filter.

        Returns:
            For each query a list, at most k long, of similarities in [-1, 1] and items.

        Raises:
            ValueError: `k`, the filter or the queries' shape is at fault.
        """
        return self.found(self.checked(queries, k), k, where)

    @abc.abstractmethod
    def found(self, queries, k, where):
        """Searches, after the checks."""

    @abc.abstractmethod
    def item(self, id):
        """Returns an item.

        Raises:
            KeyError: There is no such item.
        """

    @abc.abstractmethod
    def vector(self, id):
        """Returns the vector, float32 (D,), of an item.

        Raises:
            KeyError: There is no such item.
        """

    @abc.abstractmethod
    def page(self, where=None, offset=0, limit=50):
        """Returns some of the items that a filter keeps, and how many it keeps in all."""

    @abc.abstractmethod
    def sample(self, where=None, count=24, seed=0):
        """Returns a random sample of the items that a filter keeps, and how many it keeps in all.

        One item of each label comes before a second of any; the same seed gives the same sample of
        the same index.

        Args:
            where: A filter.
            count: Items wanted; positive.
            seed: Not negative.
        """

    @abc.abstractmethod
    def ids(self, where):
        """Returns the ids of the items that a filter keeps."""

    @abc.abstractmethod
    def ids_of(self, paths):
        """Returns path -> id of those of some paths that one item has, and no other."""

    @abc.abstractmethod
    def has_label(self, label):
        """Returns whether an item has a label."""

    @abc.abstractmethod
    def labels(self, most):
        """Returns labels of its items, sorted, at most so many."""

    @abc.abstractmethod
    def changing(self):
        """Returns a context that keeps other writers out for as long as it lasts.

        `add` and `remove` enter it themselves; long work that ends in one of them enters it first.

        Raises:
            ValueError: Another process is changing the index.
        """

    def add(self, items, vectors):
        """Adds items; those whose id is there already take the place of the older.

        A field for which an item has no value keeps the older's.

        Args:
            items: A pandas frame with `id`, `path`, `label` and fields of your own.
            vectors: Float32 (N, D), of unit length.

        Returns:
            How many were new and how many were replaced.

        Raises:
            ValueError: Ids are not unique, a field does not fit, or vectors are of another shape.
        """
        items = self.checked_items(items)
        vectors = np.ascontiguousarray(vectors, "float32")
        check_vectors(vectors, len(items), self.dimension)
        with self.changing():
            replaced = self.insert(items, vectors)
        return len(items) - replaced, replaced

    def checked_items(self, items):
        """Returns items as they are kept, ready to be added.

        Args:
            items: As `add` takes them.

        Raises:
            ValueError: Ids are not unique, or a field does not fit; the message names it.
        """
        return fitted(checked_items(items), self.kinds, self.location)

    @abc.abstractmethod
    def insert(self, items, vectors):
        """Adds items, after the checks; returns how many were replaced."""

    @abc.abstractmethod
    def remove(self, ids):
        """Removes items.

        Raises:
            KeyError: One is not there; nothing is removed then.
        """

    @abc.abstractmethod
    def info(self):
        """Returns what the index is, for people and for JSON."""

    @abc.abstractmethod
    def verify(self):
        """Checks what opening does not.

        Raises:
            ValueError: It is not whole.
        """

    @abc.abstractmethod
    def renewed(self):
        """Returns the index as others have changed it since it was opened; None if they have not.

        Raises:
            ValueError, OSError: It can't be opened again.
        """

    def check_encoder(self, encoder):
        """Raises ValueError where the vectors are of another encoder."""
        if encoder.sha256 != self.encoder_sha256:
            raise ValueError(
                f"{self.location} was built with another encoder than {encoder.path}: their "
                "similarities would mean nothing. Build the index again with this one"
            )

    def checked(self, queries, k):
        """Returns queries as float32 (Q, D).

        Raises:
            ValueError: They or `k` can't be searched for.
        """
        if k < 1:
            raise ValueError(f"k must be at least 1; got {k}")
        queries = np.ascontiguousarray(queries, "float32")
        if queries.ndim != 2 or queries.shape[1] != self.dimension:
            raise ValueError(f"queries must be (Q, {self.dimension}) numbers; got {queries.shape}")
        if not np.isfinite(queries).all():
            raise ValueError("queries must be finite numbers")
        return queries


def checked_items(items):
    """Returns items with columns of the types that an index keeps (`dml._storage.columns`).

    Raises:
        ValueError: A column is of none, or ids are missing or not unique.
    """
    table = typed(items)
    if "id" not in table or table["id"].isna().any():
        raise ValueError("each item must have an id")
    if table["id"].duplicated().any():
        raise ValueError("ids must be unique")
    return fitted(table, dict.fromkeys(("id", "path", "label"), str), "items")


def check_vectors(vectors, count, dimension):
    """Raises ValueError where vectors are not finite numbers (count, dimension)."""
    if vectors.shape != (count, dimension):
        raise ValueError(f"vectors must be ({count}, {dimension}) numbers; got {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError("vectors must be finite numbers")


def with_older(items, older):
    """Returns items whose missing fields are those of the items that they replace.

    Args:
        items: As of `checked_items`.
        older: The items that are replaced, with all columns of `items`, in any order.
    """
    if not len(older):
        return items
    row_of = {id: row for row, id in enumerate(older["id"])}
    rows = np.array([row_of.get(id, -1) for id in items["id"]])
    items = items.copy()
    for name in items:
        take = (rows >= 0) & items[name].isna().to_numpy()
        if take.any():
            items.loc[take, name] = older[name].iloc[rows[take]].array
    return items


def check_recall(recall):
    """Raises ValueError where a recall is none."""
    if not 0 < recall <= 1:
        raise ValueError(f"recall must be in (0, 1]; got {recall}")


def spread(labels, count, seed):
    """Returns places of labels, int64 (at most count,): a random one of each label comes first.

    Args:
        labels: N, None for none.
        count: Places wanted; positive.
        seed: Not negative.
    """
    import pandas as pd

    labels = np.asarray(labels, object)
    order = np.random.default_rng(seed).permutation(len(labels))
    codes = pd.factorize(labels[order], use_na_sentinel=False)[0]
    by_label = np.argsort(codes, kind="stable")
    first = np.searchsorted(codes[by_label], codes[by_label])
    turn = np.empty(len(labels), "int64")  # how many of its label come before each
    turn[by_label] = np.arange(len(labels)) - first
    return order[np.argsort(turn, kind="stable")[:count]]


def plain_item(names, values):
    """Returns a row of a table as an item."""
    return {name: plain(value) for name, value in zip(names, values, strict=True)}
