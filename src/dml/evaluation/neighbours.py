"""Exact nearest neighbours of unit vectors, in blocks, and where the positives rank among them."""

from dataclasses import dataclass

import numpy as np

# Inner products of unit float32 vectors carry errors of about this size, which depend on the
# shape of the product: what is nearer to each other than this is a tie.
TIE = 1e-6
BLOCK = 2048  # queries searched at once
MATRIX_BYTES = 64 << 20  # of a block's similarities to the whole gallery


@dataclass(frozen=True, eq=False)
class Ranks:
    """Where the nearest positives of each query rank, ties counting against the model.

    Args:
        positives: Int64 (Q,): positives of each query in the gallery.
        first: Int64 (Q,): rank of the nearest positive, from 1; 0 where there is none.
        precision_at_r: Float64 (Q,): share of the R positives that rank among the first R.
        average_precision_at_r: Float64 (Q,): 1/R times the sum, over these, of the precision at
            their rank.
        neighbours: Int64 (Q, k): the nearest gallery rows, nearest first; -1 beyond the gallery.
    """

    positives: np.ndarray
    first: np.ndarray
    precision_at_r: np.ndarray
    average_precision_at_r: np.ndarray
    neighbours: np.ndarray


def rank_positives(queries, query_codes, gallery=None, gallery_codes=None, shown=10):
    """Ranks the positives of each query among the gallery.

    A positive's rank counts every negative at least as similar as it (to within `TIE`), and the
    positives before it.

    Args:
        queries: Float32 (Q, D), of length 1.
        query_codes: Integers (Q,): the class of each query.
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
    depth = int(min(max(positives.max(initial=1), shown) + 1 + itself, len(gallery)))
    parts = []
    for start in range(0, len(queries), BLOCK):
        rows = np.arange(start, min(start + BLOCK, len(queries)))
        similarities, found = nearest(queries[rows], gallery, depth)
        if itself:
            similarities, found = without(similarities, found, rows)
        relevant = (gallery_codes[found] == query_codes[rows, None]) & (found >= 0)
        # Positives beyond the list, or tied with its end, are counted against the whole gallery.
        unsure = incomplete(similarities, relevant, positives[rows])
        block = score(similarities, relevant, positives[rows])
        if unsure.any() and depth < len(gallery):
            exact = rank_fully(
                rows[unsure], queries, query_codes, gallery, gallery_codes, positives, itself
            )
            for values, replacement in zip(block, exact, strict=True):
                values[unsure] = replacement
        parts.append((*block, padded(found, shown)))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Ranks(positives, *columns)


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


def incomplete(similarities, relevant, positives):
    """Tells which lists don't settle the rank of the nearest positive or of those among R."""
    first = np.argmax(relevant, axis=1)
    nowhere = ~relevant.any(axis=1)
    # The last of the first R entries: any positive there must have all of its ties in the list.
    last = np.clip(positives - 1, 0, similarities.shape[1] - 1)
    rows = np.arange(len(relevant))
    lowest = np.minimum(similarities[rows, last], similarities[rows, first])
    return (positives > 0) & (nowhere | (similarities[:, -1] >= lowest - 2 * TIE))


def score(similarities, relevant, positives):
    """Returns first rank, precision at R and average precision at R from sorted lists.

    Args:
        similarities: Floats (Q, L), falling along each row.
        relevant: Booleans (Q, L).
        positives: R, integers (Q,).
    """
    queries, length = similarities.shape
    row, place = np.nonzero(relevant)
    # One rising sequence over all rows lets one search count every tie.
    offset = 4.0 * np.arange(queries)[:, None]
    rising = (offset - similarities.astype("float64")).ravel()
    wanted = rising.reshape(queries, length)[row, place] + TIE
    tied_end = np.searchsorted(rising, wanted, side="right") - row * length
    before = np.cumsum(relevant, axis=1)
    order = before[row, place]  # among the query's positives, from 1
    negatives = tied_end - before[row, np.maximum(tied_end - 1, 0)]
    rank = negatives + order
    first = np.zeros(queries, "int64")
    nearest_one = order == 1
    first[row[nearest_one]] = rank[nearest_one]
    among = rank <= positives[row]
    r = np.maximum(positives, 1)
    precision = np.bincount(row[among], minlength=queries) / r
    average = np.bincount(row[among], (order / rank)[among], minlength=queries) / r
    return first, precision, average


def rank_fully(rows, queries, query_codes, gallery, gallery_codes, positives, itself):
    """Scores these queries by their similarities to the whole gallery, a few at a time."""
    step = max(MATRIX_BYTES // (4 * len(gallery)), 1)
    parts = []
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        similarities = queries[some] @ gallery.T
        relevant = gallery_codes[None, :] == query_codes[some, None]
        if itself:
            similarities[np.arange(len(some)), some] = -2.0  # behind everything
            relevant[np.arange(len(some)), some] = False
        order = np.argsort(-similarities, axis=1, kind="stable")
        parts.append(
            score(
                np.take_along_axis(similarities, order, axis=1),
                np.take_along_axis(relevant, order, axis=1),
                positives[some],
            )
        )
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def padded(found, width):
    """Returns the first `width` columns, -1 where there are fewer."""
    result = np.full((len(found), width), -1, "int64")
    result[:, : found.shape[1]] = found[:, :width]
    return result
