"""Ranks of positives by counting the whole gallery in float64: slower, and never in doubt."""

import numpy as np

MATRIX_BYTES = 96 << 20  # of some queries' similarities to the whole gallery
GALLERY_ROWS = 8192  # of the gallery in float64 at once


def count_fully(rows, floors, queries, query_codes, gallery, gallery_codes, itself, tie):
    """Scores queries by their float64 similarities to the whole gallery, some at a time.

    Args:
        rows: Integers (U,): the queries to score, each with a positive in the gallery.
        floors: Floats (U,): a similarity below which no positive of the query is among its first R.
        queries: Float32 (Q, D).
        query_codes: Integers (Q,), not negative.
        gallery: Float32 (G, D).
        gallery_codes: Integers (G,), not negative.
        itself: Whether query i is gallery row i, and so not among its own neighbours.
        tie: Negatives up to so much less similar than a positive rank before it.

    Returns:
        First rank, precision at R and average precision at R, each (U,).
    """
    by_class = np.argsort(gallery_codes, kind="stable")
    codes = gallery_codes[by_class]
    first, precision, average = np.zeros(len(rows), "int64"), *np.zeros((2, len(rows)))
    step = max(MATRIX_BYTES // (8 * len(gallery)), 1)
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        ends = np.searchsorted(codes, [query_codes[some], query_codes[some] + 1]).T
        for i, row in enumerate(products(queries[some], gallery), start=start):
            own = by_class[slice(*ends[i - start])]
            near = row[own[own != rows[i]] if itself else own]
            row[own] = -np.inf
            r = len(near)
            near = np.sort(near[near >= min(floors[i], near.max())])[::-1]
            negatives = np.sort(row[row >= near[-1] - tie])
            order = np.arange(1, len(near) + 1)
            rank = len(negatives) - np.searchsorted(negatives, near - tie) + order
            counts = rank <= r
            first[i] = rank[0]
            precision[i] = counts.sum() / r
            average[i] = (order / rank)[counts].sum() / r
    return first, precision, average


def products(queries, gallery):
    """Returns the float64 inner products (Q, G) of float32 vectors, never all in float64."""
    queries = queries.astype("float64")
    result = np.empty((len(queries), len(gallery)))
    for start in range(0, len(gallery), GALLERY_ROWS):
        part = slice(start, start + GALLERY_ROWS)
        np.matmul(queries, gallery[part].astype("float64").T, out=result[:, part])
    return result
