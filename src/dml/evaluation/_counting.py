"""Ranks of positives by counting the whole gallery: slower than lists, but never ambiguous."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from dml.evaluation._neighbours import Search

GALLERY_ROWS = 65536  # compared with a block of queries at once


def count_fully(
    search: Search, rows: np.ndarray, floors: np.ndarray, tie: float, error: float
) -> np.ndarray:
    """Scores queries by their similarities to the whole gallery, a block at a time.

    Products in float32 decide, except those within their error of what they are compared with,
    which are computed in float64.

    Args:
        search: The queries, their gallery, what is relevant, the metrics and the memory.
        rows: Integers (U,): the queries to score, each with a positive in the gallery.
        floors: Floats (U,): a similarity below which no positive of the query counts.
        tie: Negatives less similar than a positive by at most this rank before it.
        error: The most by which a float32 product differs from the float64 one.

    Returns:
        What `Scores.columns` returns of these queries.
    """
    queries, gallery = search.queries, search.gallery
    relevance, scores = search.relevance, search.scores
    width = min(GALLERY_ROWS, len(gallery))
    step = max(search.memory * 3 // 7 // (16 * width), 1)
    parts = [np.empty((0, 1 + len(scores.names)))]
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        counters = [
            Counter(search, row, floor, tie, error)
            for row, floor in zip(some, floors[start : start + step], strict=True)
        ]
        for first in range(0, len(gallery), width):
            matrix = queries[some] @ gallery[first : first + width].T
            for counter, similarities in zip(counters, matrix, strict=True):
                counter.count(similarities, first)
        ranks = [counter.ranks() for counter in counters]
        counts = [len(r) for r in ranks]
        parts.append(
            scores.columns(
                np.repeat(np.arange(len(some)), counts),
                np.concatenate([np.arange(1, n + 1) for n in counts]),
                np.concatenate(ranks),
                relevance.positives[some],
            )
        )
    return np.concatenate(parts)


class Counter:
    """Counts the rows that are at least as similar to a query as each positive, less the tie.

    Args:
        search: As in `count_fully`.
        row: The number of the query.
        floor: A similarity below which positives are left out, except the nearest.
        tie: As in `count_fully`.
        error: As in `count_fully`.
    """

    def __init__(self, search: Search, row: int, floor: float, tie: float, error: float):
        self.query, self.gallery = search.queries[row].astype("float64"), search.gallery
        self.error = error
        near = self.exact(search.relevance.positives_of(row))
        # Not negatives: its positives, and what its search excludes.
        others = np.concatenate([near, self.exact(search.relevance.left_out_of(row))])
        self.bounds = np.sort(near[near >= min(floor, near.max())]) - tie
        # How many rows reach each of the bounds: O(G log R) time, O(R) memory.
        self.reached = -self.tally(others)

    def exact(self, rows):
        """Returns the float64 similarities of gallery rows."""
        return self.gallery[rows].astype("float64") @ self.query

    def tally(self, similarities):
        """Returns how many similarities reach 0, 1, ... all of the bounds."""
        places = np.searchsorted(self.bounds, similarities, side="right")
        return np.bincount(places, minlength=len(self.bounds) + 1)

    def count(self, similarities, first):
        """Counts a part of the gallery that begins at row `first`, by float32 similarities."""
        near = np.flatnonzero(similarities >= self.bounds[0] - self.error)
        found = similarities[near].astype("float64")
        unclear = np.searchsorted(self.bounds, found - self.error, side="right")
        unclear = unclear < np.searchsorted(self.bounds, found + self.error, side="right")
        found[unclear] = self.exact(first + near[unclear])
        self.reached += self.tally(found)

    def ranks(self):
        """Returns the ranks of the positives, nearest first."""
        before = np.cumsum(self.reached[:0:-1])
        return before + np.arange(1, len(before) + 1)
