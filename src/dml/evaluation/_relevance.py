"""Which gallery rows are a query's positives, and which its search excludes."""

from collections.abc import Hashable
from itertools import chain
from typing import Any

import numpy as np

from dml._arrays import missing
from dml.errors import ArrayError
from dml.evaluation._arrays import codes, nothing_shared, shared_codes

NONE = -1  # the code of a missing key
PAIRS = 2_000_000  # of a query and a row that share a label, about, that are in memory at once


class Relevance:
    """The positives of each query among the gallery, without a table of all pairs.

    Args:
        same: What makes a gallery row a positive.
        left_out: What excludes a row from a query's search; None for nothing.
        itself: Whether query i is gallery row i, and so not among its own neighbours.

    Attributes:
        positives: Int64 (Q,): number of positives of each query, without excluded ones.
        most_left_out: The most gallery rows that any query excludes, itself included.
    """

    def __init__(
        self,
        same: "SameCode | SharedLabel",
        left_out: "SameCode | None" = None,
        itself: bool = False,
    ):
        self.same, self.left_out, self.itself = same, left_out, itself
        own = int(itself)  # of a query's positives, itself, unless `left_out` takes it anyway
        if left_out is None:
            positives = same.counts() - own
            self.most_left_out = int(itself)
        else:
            positives = same.counts() - same.counts_in(left_out) - own * (left_out.query_codes < 0)
            self.most_left_out = int(left_out.counts().max()) + itself
        self.positives = np.maximum(positives, 0)  # a query without labels isn't one of its own

    def is_positive(self, rows, found):
        """Returns which of the gallery rows `found` (B, L) are positives of the queries `rows`."""
        return self.same.holds(rows, found)

    def is_left_out(self, rows, found):
        """Returns which of the gallery rows `found` (B, L) the queries `rows` exclude."""
        if self.left_out is None:
            out = np.zeros(found.shape, bool)
        else:
            out = self.left_out.holds(rows, found)
        return out | (found == rows[:, None]) if self.itself else out

    def positives_of(self, row):
        """Returns the gallery rows that are positives of one query."""
        own = self.same.members(row)
        if self.itself:
            own = own[own != row]
        return own if self.left_out is None else np.setdiff1d(own, self.left_out.members(row))

    def left_out_of(self, row):
        """Returns the gallery rows that one query excludes, each once."""
        out = [] if self.left_out is None else self.left_out.members(row)
        return np.unique(np.append(out, row) if self.itself else out).astype("int64")


class SameCode:
    """Queries and gallery rows of one code belong together; negative codes match nothing.

    Args:
        query_codes: Integers (Q,).
        gallery_codes: Integers (G,).
    """

    def __init__(self, query_codes: np.ndarray, gallery_codes: np.ndarray):
        self.query_codes, self.gallery_codes = query_codes, gallery_codes
        self.order = np.argsort(gallery_codes, kind="stable")
        self.in_order = gallery_codes[self.order]

    def counts(self):
        """Returns how many gallery rows belong to each query (Q,)."""
        first, end = self.ends(self.query_codes)
        return np.where(self.query_codes < 0, 0, end - first)

    def counts_in(self, other):
        """Returns how many gallery rows belong to each query (Q,), here and in a `SameCode`."""
        width = max(other.query_codes.max(), other.gallery_codes.max()) + 1

        def both(mine, theirs):
            return np.where((mine < 0) | (theirs < 0), NONE, mine * width + theirs)

        queries = both(self.query_codes, other.query_codes)
        return SameCode(queries, both(self.gallery_codes, other.gallery_codes)).counts()

    def holds(self, rows, found):
        """Returns which of the gallery rows `found` (B, L) belong to the queries `rows` (B,)."""
        wanted = self.query_codes[rows, None]
        same = self.gallery_codes[found] == wanted
        return same if self.query_codes.min() >= 0 else same & (wanted >= 0)

    def members(self, row):
        """Returns the gallery rows that belong to one query."""
        if self.query_codes[row] < 0:
            return self.order[:0]
        return self.order[slice(*self.ends(self.query_codes[row]))]

    def ends(self, wanted):
        """Returns where codes begin and end among the sorted ones."""
        return tuple(np.searchsorted(self.in_order, wanted, side) for side in ("left", "right"))


class SharedLabel:
    """Queries and gallery rows that share at least one label belong together.

    Args:
        query_sets: Q sets of labels.
        gallery_sets: G sets of labels.
    """

    def __init__(self, query_sets, gallery_sets):
        known: dict[Hashable, int] = {}
        self.queries: Any = indicator(query_sets, known)
        self.gallery: Any = indicator(gallery_sets, known)
        self.queries.resize(self.queries.shape[0], self.gallery.shape[1])
        self.by_label: Any = self.gallery.T.tocsr()
        self.pairs = self.queries @ np.diff(self.by_label.indptr).astype("int64")  # at most, (Q,)

    def parts(self, rows):
        """Yields the rows in parts, whose matrices `together` fit into memory, with these."""
        if len(rows):
            part = np.cumsum(self.pairs[rows]) // PAIRS
            for some in np.split(rows, np.flatnonzero(np.diff(part)) + 1):
                yield some, self.together(some)

    def together(self, rows):
        """Returns the sparse matrix (B, G) whose entries belong together."""
        found = self.queries[rows] @ self.by_label
        found.sort_indices()
        return found

    def most_frequent_labels(self, rows):
        """Returns of each of the queries `rows` its label that most of them have (rows,)."""
        has = self.queries[rows].tocsr()
        frequency = np.asarray(has.sum(axis=0)).ravel()
        # Of equal ones the first, so that queries with the same labels have the same.
        order = np.lexsort((np.arange(len(frequency)), -frequency))
        rank = np.empty(len(order), dtype="int64")
        rank[order] = np.arange(len(order))
        return order[np.minimum.reduceat(rank[has.indices], has.indptr[:-1])]

    def counts(self):
        """Returns how many gallery rows belong to each query (Q,)."""
        every = np.arange(self.queries.shape[0])
        counts = [np.diff(together.indptr) for _, together in self.parts(every)]
        return np.concatenate([every[:0], *counts])

    def counts_in(self, other):
        """Returns how many gallery rows belong to each query (Q,), here and in a `SameCode`."""
        counts = np.zeros(self.queries.shape[0], "int64")
        for some, together in self.parts(np.arange(len(counts))):
            query = np.repeat(some, np.diff(together.indptr))
            wanted = other.query_codes[query]
            out = (wanted >= 0) & (other.gallery_codes[together.indices] == wanted)
            counts += np.bincount(query[out], minlength=len(counts))
        return counts

    def holds(self, rows, found):
        """Returns which of the gallery rows `found` (B, L) belong to the queries `rows` (B,)."""
        size, held, done = self.gallery.shape[0], np.zeros(found.shape, bool), 0
        for some, together in self.parts(rows):
            place = np.arange(len(some))
            known = np.repeat(place, np.diff(together.indptr)) * size + together.indices  # rising
            if len(known):
                asked = place[:, None] * size + found[done : done + len(some)]
                at = np.minimum(np.searchsorted(known, asked), len(known) - 1)
                held[done : done + len(some)] = known[at] == asked
            done += len(some)
        return held

    def members(self, row):
        """Returns the gallery rows that belong to one query."""
        return self.together([row]).indices.astype("int64")


def indicator(sets, known):
    """Returns the sparse matrix (N, labels) that tells which row has which label.

    Args:
        sets: N sets of labels.
        known: {label: column}, to which new labels are added.
    """
    from scipy.sparse import csr_array

    counts = [len(labels) for labels in sets]
    # In order, so that columns are numbered alike in every process.
    labels = chain.from_iterable(sorted(labels, key=str) for labels in sets)
    columns = [known.setdefault(label, len(known)) for label in labels]
    ends = np.concatenate([[0], np.cumsum(counts)])
    ones = np.ones(len(columns), "int32")
    return csr_array((ones, np.array(columns, "int64"), ends), shape=(len(sets), len(known)))


def by_label(labels: np.ndarray, gallery_labels: np.ndarray | None) -> "SameCode | SharedLabel":
    """Returns what makes rows positives: equal labels, or sets with a label in common.

    Args:
        labels: Q labels, as `checked_labels` returns them.
        gallery_labels: G labels; None for the queries' own.

    Raises:
        ArrayError: Some labels are sets, others not; or the gallery has none of the queries'.
    """
    gallery_labels = labels if gallery_labels is None else gallery_labels
    sides = [labels.tolist(), gallery_labels.tolist()]
    every = [*sides[0], *sides[1]]
    sets = sum(isinstance(label, set | frozenset) for label in every)
    if sets and sets < len(every):
        raise ArrayError("labels must be all sets, of several labels each, or none of them")
    names = "labels", "gallery_labels"
    if not sets:
        return SameCode(*shared_codes(labels, gallery_labels, *names))
    own, others = ([v for labels in side for v in labels] for side in sides)
    if own and others and set(own).isdisjoint(others):
        raise nothing_shared(own, others, *names)
    return SharedLabel(*sides)


def by_key(keys: np.ndarray, gallery_keys: np.ndarray | None) -> SameCode:
    """Returns what excludes rows of the same key; None and NaN exclude nothing.

    Args:
        keys: Q keys, as `checked_keys` returns them.
        gallery_keys: G keys; None for the queries' own.
    """
    pair = [keys, keys if gallery_keys is None else gallery_keys]
    coded = codes(*pair)
    return SameCode(*(np.where(missing(k), NONE, c) for k, c in zip(pair, coded, strict=True)))
