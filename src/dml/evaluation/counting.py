"""Ranks of positives by counting the whole gallery in float64: slower, and never in doubt."""

import numpy as np

GALLERY_ROWS = 8192  # of the gallery in float64 at once


def count_fully(rows, floors, queries, gallery, relevance, scores, tie, matrix_bytes=96 << 20):
    """Scores queries by their float64 similarities to the whole gallery, some at a time.

    Args:
        rows: Integers (U,): the queries to score, each with a positive in the gallery.
        floors: Floats (U,): a similarity below which no positive of the query counts.
        queries: Float32 (Q, D).
        gallery: Float32 (G, D).
        relevance: `Relevance` of queries and gallery.
        scores: `Scores`.
        tie: Negatives up to so much less similar than a positive rank before it.
        matrix_bytes: Of some queries' similarities to the whole gallery.

    Returns:
        What `Scores.columns` returns of these queries.
    """
    step = max(matrix_bytes // (8 * len(gallery)), 1)
    parts = [np.empty((0, 1 + len(scores.names)))]
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        matrix = products(queries[some], gallery)
        ranks = [
            ranks_of(matrix[i], row, floor, relevance, tie)
            for i, (row, floor) in enumerate(zip(some, floors[start : start + step], strict=True))
        ]
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


def ranks_of(similarities, row, floor, relevance, tie):
    """Returns the ranks of a query's positives, nearest first, of those above the floor.

    Args:
        similarities: Float64 (G,): of one query; overwritten.
        row: Which query.
        floor: A similarity below which positives are left out, but for the nearest.
        relevance: `Relevance`.
        tie: As of `count_fully`.
    """
    own = relevance.positives_of(row)
    near = similarities[own]
    similarities[own] = -np.inf
    similarities[relevance.left_out_of(row)] = -np.inf
    near = np.sort(near[near >= min(floor, near.max())])[::-1]
    # How many negatives lie between one positive and the next: O(G log R).
    bounds = near[::-1] - tie
    places = np.searchsorted(bounds, similarities[similarities >= bounds[0]], side="right")
    before = np.cumsum(np.bincount(places, minlength=len(near) + 1)[:0:-1])
    return before + np.arange(1, len(near) + 1)


def products(queries, gallery):
    """Returns the float64 inner products (Q, G) of float32 vectors, never all in float64."""
    queries = queries.astype("float64")
    result = np.empty((len(queries), len(gallery)))
    for start in range(0, len(gallery), GALLERY_ROWS):
        part = slice(start, start + GALLERY_ROWS)
        np.matmul(queries, gallery[part].astype("float64").T, out=result[:, part])
    return result
