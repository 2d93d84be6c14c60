"""Exact nearest neighbours of unit vectors, in blocks, and the ranks of positives among them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np

from dml._storage.unfinished import Unfinished
from dml.evaluation import _device_search
from dml.evaluation._counting import count_fully
from dml.evaluation._relevance import Relevance
from dml.evaluation._scores import Scores

# Similarities closer than this are ties: float32 embeddings of one image in two batches differ
# by about as much.
TIE = 1e-6
BLOCK = 2048  # queries searched at once, at most
UNIT = 8192  # queries whose results are kept together for an interrupted search
SHORTEST = 100  # the least neighbours listed: fewer are hardly faster to find
LONGEST = 1024  # the most neighbours listed: beyond that, counting is cheaper
MEMORY_MIB = 224
NOWHERE = -2.0  # the similarity of an excluded row: below all others


@dataclass(frozen=True, eq=False)
class Ranks:
    """Ranks of the positives of each query, ties counted against the model.

    Args:
        positives: Int64 (Q,): number of positives of each query in the gallery.
        first: Int64 (Q,): rank of the nearest positive, from 1; 0 if there is none.
        values: Float64 (Q, metrics): in the order of `Scores.names`.
        neighbours: Int64 (Q, k): the nearest gallery rows, nearest first, ties in any order; -1
            beyond the gallery.
    """

    positives: np.ndarray
    first: np.ndarray
    values: np.ndarray
    neighbours: np.ndarray


def rank_positives(
    queries: np.ndarray,
    gallery: np.ndarray,
    relevance: Relevance,
    scores: Scores,
    shown: int = 10,
    memory_mib: int = MEMORY_MIB,
    advance: Callable[[int], None] | None = None,
    unfinished: Unfinished | None = None,
) -> Ranks:
    """Ranks the positives of each query among the gallery.

    A positive's rank counts every negative whose similarity, in float64, is at least its own less
    `TIE`, and the positives before it. So ranks depend on the vectors alone, not on the order of
    rows or on the rounding of products in float32. Lists from a float32 search are used where they
    are unambiguous, which is nearly everywhere; other queries are counted in float64.

    Args:
        queries: Float32 (Q, D), of unit length.
        gallery: Float32 (G, D), of unit length.
        relevance: The positives and excluded rows of queries and gallery.
        scores: The metrics to compute.
        shown: Neighbours to return for each query.
        memory_mib: Memory for lists and matrices, in addition to the vectors and the result.
        advance: Called with the number of queries done since its last call; None for no calls.
        unfinished: Keeps finished parts; None keeps nothing.

    Returns:
        `Ranks`.
    """
    wanted = max(relevance.positives.max(), scores.depth, SHORTEST)
    deepest = max(min(wanted, LONGEST), shown)
    depth = int(min(deepest + 1 + min(relevance.most_left_out, LONGEST), len(gallery)))
    search = Search(queries, gallery, relevance, scores, shown, depth, memory_mib << 20)
    parts = []
    for start in range(0, len(queries), UNIT):
        rows = np.arange(start, min(start + UNIT, len(queries)))
        if unfinished is None:
            parts.append(search.unit(rows, advance))
        else:
            parts.append(unfinished.part(start // UNIT, lambda r=rows: search.unit(r, advance)))
            if unfinished.was_known and advance is not None:
                advance(len(rows))
    columns, neighbours = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Ranks(relevance.positives, columns[:, 0].astype("int64"), columns[:, 1:], neighbours)


@dataclass(frozen=True, eq=False)
class Search:
    """A search of queries in a gallery. Fields as in `rank_positives`; `depth`: of its lists."""

    queries: np.ndarray
    gallery: np.ndarray
    relevance: Relevance
    scores: Scores
    shown: int
    depth: int
    memory: int

    def unit(self, rows, advance):
        """Returns the columns (B, 1 + metrics) and neighbours (B, shown) of some queries."""
        block = int(np.clip(self.memory * 4 // 7 // (64 * self.depth), 32, BLOCK))
        parts = []
        for start in range(0, len(rows), block):
            some = rows[start : start + block]
            parts.append(self.lists(some))
            if advance is not None:
                advance(len(some))
        columns, doubtful, floors, neighbours = (
            np.concatenate(p) for p in zip(*parts, strict=True)
        )
        columns[doubtful] = count_fully(
            self, rows[doubtful], floors[doubtful], TIE, 2 * rounding(self.queries)
        )
        return columns, neighbours

    def lists(self, rows):
        """Returns columns, whether they are ambiguous, floors and neighbours of some queries."""
        similarities, found = nearest(self.queries[rows], self.gallery, self.depth)
        seen = similarities[:, -1]  # nothing outside the lists is nearer
        complete = found.shape[1] == len(self.gallery)
        if self.relevance.left_out is not None:
            similarities, found = moved_out(
                similarities, found, self.relevance.is_left_out(rows, found)
            )
        elif self.relevance.itself:
            similarities, found = without(similarities, found, rows)
        relevant = self.relevance.is_positive(rows, found) & (similarities > NOWHERE)
        positives = self.relevance.positives[rows]
        horizon = self.scores.horizon(positives, len(self.gallery))
        error = rounding(self.queries)
        triples, doubtful, floors = ranks_in(similarities, relevant, horizon, seen, error, complete)
        columns = self.scores.columns(*triples, positives)
        neighbours = padded(np.where(similarities > NOWHERE, found, -1), self.shown)
        if not complete and len(short := np.flatnonzero((neighbours < 0).any(axis=1))):
            neighbours[short] = self.shown_of(rows[short])
        return columns, doubtful & (positives > 0), floors, neighbours

    def shown_of(self, rows):
        """Returns the neighbours (B, shown) of queries that exclude more rows than lists hold."""
        width = min(self.shown, len(self.gallery))
        step = max(self.memory * 3 // 7 // (16 * len(self.gallery)), 1)
        parts = []
        for start in range(0, len(rows), step):
            some = rows[start : start + step]
            distances = -(self.queries[some] @ self.gallery.T)
            for row, distance in zip(some, distances, strict=True):
                distance[self.relevance.left_out_of(row)] = -NOWHERE
            found = np.argpartition(distances, width - 1, axis=1)[:, :width]
            distances = np.take_along_axis(distances, found, axis=1)
            found[distances >= -NOWHERE] = -1
            order = np.argsort(distances, axis=1)
            parts.append(padded(np.take_along_axis(found, order, axis=1), self.shown))
        return np.concatenate(parts)


def rounding(vectors: np.ndarray) -> float:
    """Returns how far a float32 product of unit vectors may be from the float64 one.

    Rounding errors add up like a random walk; the largest measured for 64 to 2048 dimensions, of
    random and of nearly collapsed vectors, is 0.6 times this.
    """
    return 2.0**-24 * vectors.shape[1] ** 0.5 + 2.0**-23


def nearest(queries: np.ndarray, gallery: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the similarities (Q, depth) and rows of the nearest of the gallery, sorted.

    On the accelerator of the Keras backend that the program uses, if there is one.
    """
    if _device_search.has_accelerator():
        return _device_search.nearest(queries, gallery, depth)
    import faiss

    return faiss.knn(queries, gallery, depth, metric=faiss.METRIC_INNER_PRODUCT)


def nearest_others(vectors: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns similarities and rows (N, depth) of the nearest others of each row.

    Args:
        vectors: Float32 (N, D), of unit length.
        depth: Number of others; in [1, N - 1].
    """
    parts = []
    for start in range(0, len(vectors), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(vectors)))
        parts.append(without(*nearest(vectors[rows], vectors, depth + 1), rows))
    similarities, rows = (np.concatenate(part) for part in zip(*parts, strict=True))
    return similarities, rows


def share_found(
    queries: np.ndarray, vectors: np.ndarray, nearest: np.ndarray, found: Iterable[Iterable[int]]
) -> float:
    """Returns the share of the true nearest that a search found, or of others as near.

    Which of equally near rows are listed is chance. So a row counts if its similarity, in float64,
    is at least that of the last of the true nearest less `TIE`.

    Args:
        queries: Float32 (Q, D), of unit length.
        vectors: Float32 (N, D), of unit length.
        nearest: Int64 (Q, k): the rows of the true nearest; k positive.
        found: Q lists of at most k rows; -1 for none.
    """
    hits = 0
    for query, near, rows in zip(queries.astype("float64"), nearest, found, strict=True):
        last = (vectors[near] @ query).min()
        different = np.array(sorted({int(row) for row in rows if row >= 0}), "int64")
        hits += int((vectors[different] @ query >= last - TIE).sum())
    return hits / nearest.size


def without(
    similarities: np.ndarray, found: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Removes each query itself from its list, by index; the last entry where it is not listed."""
    keep = found != rows[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = (len(found), found.shape[1] - 1)
    return similarities[keep].reshape(shape), found[keep].reshape(shape)


def moved_out(similarities, found, out):
    """Moves the rows `out` (Q, L) behind all others of their list, with similarity `NOWHERE`."""
    order = np.argsort(out, axis=1, kind="stable")
    similarities = np.where(out, np.float32(NOWHERE), similarities)
    return tuple(np.take_along_axis(x, order, axis=1) for x in (similarities, found))


def ranks_in(similarities, relevant, horizon, seen, error, complete):
    """Ranks the positives of sorted lists, and returns which of the lists are ambiguous.

    Args:
        similarities: Float32 (Q, L), falling along each row, each accurate to `error`.
        relevant: Booleans (Q, L).
        horizon: Integers (Q,): the largest rank that matters, apart from that of the nearest.
        seen: Floats (Q,): no row outside a list is more similar.
        error: The largest error of a similarity.
        complete: Whether the lists hold the whole gallery.

    Returns:
        For each positive in a list its query, its order among the query's, and its rank; whether
        the list of each query is ambiguous; and a similarity (Q,) below which no positive ranks
        within the horizon.
    """
    queries, length = similarities.shape
    row, place = np.nonzero(relevant)
    before = np.zeros((queries, length + 1), "int64")  # relevant ones among the first
    np.cumsum(relevant, axis=1, out=before[:, 1:])
    # One rising sequence over all rows, so that one search counts every tie.
    rising = (4.0 * np.arange(queries)[:, None] - similarities).ravel()

    def negatives(margin):
        limit = rising[row * length + place] + margin
        end = np.searchsorted(rising, limit, side="right") - row * length
        return end - before[row, end]

    order = before[row, place] + 1  # among the query's positives
    fewest, most = negatives(TIE - 2 * error), negatives(TIE + 2 * error)
    rank = fewest + order
    unclear = row[(fewest < most) & ((rank <= horizon[row]) | (order == 1))]

    # All ties up to the horizon, and those of the nearest positive, must be in the list.
    lists = np.arange(queries)
    last = similarities[lists, np.minimum(horizon, length) - 1].astype("float64")
    lowest = np.minimum(last, similarities[lists, np.argmax(relevant, axis=1)])
    none = ~relevant.any(axis=1)
    doubtful = none | (horizon > length) | (seen >= lowest - TIE - 2 * error)
    doubtful &= not complete
    doubtful[unclear] = True
    floors = np.where(horizon > length, -np.inf, last - TIE - 2 * error)
    return (row, order, rank), doubtful, floors


def padded(found, width):
    """Returns the first `width` columns, -1 if there are fewer."""
    result = np.full((len(found), width), -1, "int64")
    result[:, : found.shape[1]] = found[:, :width]
    return result
