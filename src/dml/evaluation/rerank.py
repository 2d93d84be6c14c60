"""Vectors and rankings made better by their neighbours, without a label."""

import numpy as np

from dml.evaluation.arrays import checked_embeddings
from dml.evaluation.neighbours import BLOCK, nearest


def expand_queries(queries, gallery, neighbours=10, alpha=3.0):
    """Replaces each query by a mean of itself and its nearest of the gallery (alpha-QE).

    Neighbours weigh their similarity to the power of alpha (Radenovic et al., TPAMI 2018), the
    query itself 1; those of a similarity below 0 nothing.

    Args:
        queries: Numbers (Q, D), of any length.
        gallery: Numbers (G, D).
        neighbours: Nearest that are mixed in; at least 0.
        alpha: At least 0; 3 in the paper. 0 weighs all alike.

    Returns:
        Float32 (Q, D), of length 1.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, or an option is negative.
    """
    queries = checked_embeddings(queries, "queries")
    gallery = checked_embeddings(gallery, "gallery")
    if min(neighbours, alpha) < 0:
        raise ValueError(f"neighbours and alpha must be at least 0; got {neighbours} and {alpha}")
    depth = min(neighbours, len(gallery))
    if not depth:
        return queries
    expanded = np.empty_like(queries)
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        similarities, rows = nearest(queries[part], gallery, depth)
        weights = np.where(similarities > 0, np.maximum(similarities, 0) ** alpha, 0)
        expanded[part] = queries[part] + np.einsum("qk,qkd->qd", weights, gallery[rows])
    return checked_embeddings(expanded, "expanded queries")


def augment_gallery(gallery, neighbours=10, alpha=3.0):
    """Replaces each vector of a gallery by a mean of itself and its nearest (DBA).

    Done once, when an index is built: queries cost nothing more (Arandjelovic and Zisserman,
    CVPR 2012).

    Args:
        gallery: Numbers (G, D), of any length.
        neighbours: As of `expand_queries`.
        alpha: As of `expand_queries`.

    Returns:
        Float32 (G, D), of length 1.
    """
    return expand_queries(gallery, gallery, neighbours + 1 if neighbours else 0, alpha)


def k_reciprocal(queries, gallery, nearest_k=20, expansion_k=6, weight=0.3):
    """Returns distances by which to rank anew, from neighbours that are each other's.

    Zhong et al. (CVPR 2017): an item is described by its k-reciprocal neighbours, those of its
    neighbours that share two thirds of theirs among them, each by exp(-d) with d the squared
    distance over the largest of its row; descriptions are averaged over the nearest
    `expansion_k`; their Jaccard distance is mixed with d.

    Takes O((Q + G)^2) memory: for some ten thousand images. Re-rank the first hundred of a larger
    search instead.

    Args:
        queries: Numbers (Q, D), of any length.
        gallery: Numbers (G, D).
        nearest_k: k1 in the paper; positive, 20.
        expansion_k: k2 in the paper; positive, 6.
        weight: lambda in the paper, of the plain distance; in [0, 1], 0.3.

    Returns:
        Float32 (Q, G): smaller is nearer.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, or an option is out of its
            range.
    """
    queries = checked_embeddings(queries, "queries")
    gallery = checked_embeddings(gallery, "gallery")
    if min(nearest_k, expansion_k) < 1 or not 0 <= weight <= 1:
        raise ValueError(
            "nearest_k and expansion_k must be positive and weight in [0, 1]; "
            f"got {nearest_k}, {expansion_k}, {weight}"
        )
    every = np.concatenate([queries, gallery])
    distances = np.maximum(2.0 - 2.0 * every @ every.T, 0.0)
    distances /= np.maximum(distances.max(axis=1, keepdims=True), 1e-12)
    order = np.argsort(distances, axis=1, kind="stable")
    near, half = mutual(order, nearest_k), mutual(order, max(round(nearest_k / 2), 1))
    for row, members in enumerate([np.flatnonzero(r) for r in near]):
        for other in members:
            theirs = half[other]
            if (theirs & near[row]).sum() > 2 / 3 * theirs.sum():
                near[row] |= theirs
    described = np.where(near, np.exp(-distances), 0.0)
    described /= np.maximum(described.sum(axis=1, keepdims=True), 1e-12)
    described = described[order[:, :expansion_k]].mean(axis=1)
    count = len(queries)
    jaccard = np.empty((count, len(gallery)), "float32")
    for row in range(count):
        shared = np.minimum(described[row], described[count:]).sum(axis=1)
        jaccard[row] = 1.0 - shared / (2.0 - shared)
    return ((1 - weight) * jaccard + weight * distances[:count, count:]).astype("float32")


def mutual(order, k):
    """Returns which items (N, N) are among each other's k nearest and themselves."""
    near = np.zeros(order.shape, bool)
    np.put_along_axis(near, order[:, : k + 1], True, axis=1)
    return near & near.T
