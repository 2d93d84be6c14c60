"""Exact nearest neighbours of unit vectors, in blocks, and where the positives rank among them."""

from dataclasses import dataclass

import numpy as np

from dml.evaluation.counting import count_fully

# What is nearer to each other than this is a tie: the same image, embedded in another batch,
# comes out of a float32 encoder about this far away.
TIE = 1e-6
BLOCK = 2048  # queries searched at once, at most
LONGEST = 1024  # neighbours listed; beyond it, counting is cheaper than listing
LIST_BYTES = 128 << 20  # of a block's lists and what is computed from them


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the nearest positives of each query rank, ties counting against the model.

    Args:
        positives: Int64 (Q,): positives of each query in the gallery.
        first: Int64 (Q,): rank of the nearest positive, from 1; 0 where there is none.
        precision_at_r: Float64 (Q,): share of the R positives that rank among the first R.
        average_precision_at_r: Float64 (Q,): 1/R times the sum, over these, of the precision at
            their rank.
        neighbours: Int64 (Q, k): the nearest gallery rows, nearest first, ties in any order; -1
            beyond the gallery.
    """

    positives: np.ndarray
    first: np.ndarray
    precision_at_r: np.ndarray
    average_precision_at_r: np.ndarray
    neighbours: np.ndarray


def rank_positives(queries, query_codes, gallery=None, gallery_codes=None, shown=10):
    """Ranks the positives of each query among the gallery.

    A positive's rank counts every negative whose similarity, in float64, is at least its own less
    `TIE`, and the positives before it. So ranks depend on the vectors alone: not on the order of
    rows, nor on how a product in float32 was rounded. Lists found in float32 serve where they
    leave no doubt, which is nearly everywhere; other queries are counted in float64.

    Args:
        queries: Float32 (Q, D), of length 1.
        query_codes: Integers (Q,), not negative: the class of each query.
        gallery: Float32 (G, D), of length 1; None for the queries themselves, each without itself.
        gallery_codes: Integers (G,).
        shown: Neighbours to return for each query.

    Returns:
        `Ranks`.
    """
    itself = gallery is None
    if itself:
        gallery, gallery_codes = queries, query_codes
    counts = np.bincount(gallery_codes, minlength=max(query_codes.max(), gallery_codes.max()) + 1)
    positives = counts[query_codes] - itself
    wanted = max(min(positives.max(), LONGEST), shown) + 1 + itself
    depth = int(min(wanted, len(gallery)))
    block = int(np.clip(LIST_BYTES // (64 * depth), 32, BLOCK))
    parts = []
    for start in range(0, len(queries), block):
        rows = np.arange(start, min(start + block, len(queries)))
        similarities, found = nearest(queries[rows], gallery, depth)
        if itself:
            similarities, found = without(similarities, found, rows)
        relevant = gallery_codes[found] == query_codes[rows, None]
        complete = found.shape[1] == len(gallery) - itself
        scores = score(similarities, relevant, positives[rows], rounding(queries), complete)
        parts.append((*scores, padded(found, shown)))
    *figures, doubtful, floor, neighbours = (np.concatenate(p) for p in zip(*parts, strict=True))
    rows = np.flatnonzero(doubtful)
    counted = count_fully(
        rows, floor[rows], queries, query_codes, gallery, gallery_codes, itself, TIE
    )
    for values, replacement in zip(figures, counted, strict=True):
        values[rows] = replacement
    return Ranks(positives, *figures, neighbours)


def rounding(vectors):
    """Returns how far a float32 product of unit vectors may lie from the float64 one.

    Roundings add up like a random walk; the largest measured for 64 to 2048 dimensions, random or
    all but collapsed, is 0.6 times this.
    """
    return 2.0**-24 * vectors.shape[1] ** 0.5 + 2.0**-23


def nearest(queries, gallery, depth):
    """Returns the similarities (Q, depth) and rows of the nearest of the gallery, sorted."""
    import faiss

    return faiss.knn(queries, gallery, depth, metric=faiss.METRIC_INNER_PRODUCT)


def without(similarities, found, rows):
    """Removes each query itself from its list, by index; the last one where it is not there."""
    keep = found != rows[:, None]
    keep[keep.all(axis=1), -1] = False
    shape = (len(found), found.shape[1] - 1)
    return similarities[keep].reshape(shape), found[keep].reshape(shape)


def score(similarities, relevant, positives, error, complete):
    """Scores sorted lists, and tells which of them leave doubt.

    Args:
        similarities: Float32 (Q, L), falling along each row, each right to within `error`.
        relevant: Booleans (Q, L).
        positives: R, integers (Q,).
        error: Of a similarity.
        complete: Whether the lists hold the whole gallery.

    Returns:
        First rank, precision at R and average precision at R; whether they are in doubt; and a
        similarity (Q,) below which no positive is among the first R.
    """
    queries, length = similarities.shape
    row, place = np.nonzero(relevant)
    before = np.zeros((queries, length + 1), "int64")  # relevant ones, of the first so many
    np.cumsum(relevant, axis=1, out=before[:, 1:])
    # One rising sequence over all rows lets one search count every tie.
    rising = (4.0 * np.arange(queries)[:, None] - similarities).ravel()

    def negatives(margin):
        limit = rising[row * length + place] + margin
        end = np.searchsorted(rising, limit, side="right") - row * length
        return end - before[row, end]

    order = before[row, place] + 1  # among the query's positives
    fewest, most = negatives(TIE - 2 * error), negatives(TIE + 2 * error)
    rank = fewest + order
    counts = rank <= positives[row]
    unclear = row[(fewest < most) & (counts | (order == 1))]

    first = np.zeros(queries, "int64")
    first[row[order == 1]] = rank[order == 1]
    r = np.maximum(positives, 1)
    precision = np.bincount(row[counts], minlength=queries) / r
    average = np.bincount(row[counts], (order / rank)[counts], minlength=queries) / r

    # Of the first R, and of the nearest positive, all ties must be in the list.
    lists = np.arange(queries)
    last = similarities[lists, np.minimum(r, length) - 1].astype("float64")
    lowest = np.minimum(last, similarities[lists, np.argmax(relevant, axis=1)])
    doubtful = (first == 0) | (r > length) | (similarities[:, -1] >= lowest - TIE - 2 * error)
    doubtful &= not complete
    doubtful[unclear] = True
    floor = np.where(r > length, -np.inf, last - TIE - 2 * error)
    return first, precision, average, doubtful & (positives > 0), floor


def padded(found, width):
    """Returns the first `width` columns, -1 where there are fewer."""
    result = np.full((len(found), width), -1, "int64")
    result[:, : found.shape[1]] = found[:, :width]
    return result
