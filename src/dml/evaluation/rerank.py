"""Vectors and rankings made better by their neighbours, without a label."""

import numpy as np

from dml.evaluation._arrays import checked_embeddings, checked_gallery
from dml.evaluation._neighbours import BLOCK, TIE, nearest, without


def expand_queries(queries, gallery, neighbours=10, alpha=3.0):
    """Replaces each query by a mean of itself and its nearest of the gallery (alpha-QE).

    Neighbours weigh their similarity to the power of alpha (Radenovic et al., TPAMI 2018), the
    query itself 1; those of a similarity of 0 or below nothing. A query that is in the gallery,
    too, is its own nearest neighbour there: leave it out, or use `augment_gallery`.

    Args:
        queries: Numbers (Q, D), of any length.
        gallery: Numbers (G, D).
        neighbours: Nearest of the gallery that are mixed in; at least 0. A smaller gallery is
            mixed in whole.
        alpha: At least 0; 3 in the paper. 0 weighs all alike.

    Returns:
        Float32 (Q, D), of length 1.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, or an option is negative.
    """
    queries = checked_embeddings(queries, "queries")
    gallery = checked_gallery(gallery, queries)
    return mixed(queries, gallery, neighbours, alpha, itself=False)


def augment_gallery(gallery, neighbours=10, alpha=3.0):
    """Replaces each vector of a gallery by a mean of itself and its nearest others (DBA).

    Done once, when an index is built: queries cost nothing more (Arandjelovic and Zisserman,
    CVPR 2012).

    Args:
        gallery: Numbers (G, D), of any length.
        neighbours: Nearest others that are mixed in, the vector itself not counted; at least 0.
            A smaller gallery is mixed in whole.
        alpha: As of `expand_queries`.

    Returns:
        Float32 (G, D), of length 1.

    Raises:
        ValueError: The array is of the wrong shape, a row is not finite, or an option is negative.
    """
    gallery = checked_embeddings(gallery, "gallery")
    return mixed(gallery, gallery, neighbours, alpha, itself=True)


def mixed(queries, gallery, neighbours, alpha, itself):
    """Returns means of queries and their nearest, of length 1.

    Args:
        queries: Float32 (Q, D), of length 1.
        gallery: Float32 (G, D), of length 1.
        neighbours: As of `expand_queries`.
        alpha: As of `expand_queries`.
        itself: Whether query i is row i of the gallery, and no neighbour of itself.
    """
    if min(neighbours, alpha) < 0:
        raise ValueError(f"neighbours and alpha must be at least 0; got {neighbours} and {alpha}")
    depth = min(neighbours + itself, len(gallery))
    if depth == itself:
        return queries
    expanded = np.empty_like(queries)
    for start in range(0, len(queries), BLOCK):
        part = slice(start, start + BLOCK)
        similarities, rows = nearest(queries[part], gallery, depth)
        if itself:
            similarities, rows = without(similarities, rows, start + np.arange(len(rows)))
        weights = np.where(similarities > 0, np.maximum(similarities, 0) ** alpha, 0)
        expanded[part] = queries[part] + np.einsum("qk,qkd->qd", weights, gallery[rows])
    return checked_embeddings(expanded, "expanded queries")


def k_reciprocal(queries, gallery, nearest_k=20, expansion_k=6, weight=0.3):
    """Returns distances by which to rank anew, from neighbours that are each other's.

    Zhong et al. (CVPR 2017), and the authors' code: an item is described by its k-reciprocal
    neighbours (those among its nearest `nearest_k` that have it among theirs, and itself), joined
    by the `nearest_k` / 2-reciprocal neighbours of each of them that share more than two thirds
    with the item's own k-reciprocal neighbours as they were before any joined. Each counts
    exp(-d), d being the squared distance over the largest of its row; descriptions sum to 1, are
    averaged over the nearest `expansion_k`, the item among them, and their Jaccard distance is
    mixed with d. Items as near as the last that is taken, to within 1e-6, are taken as well, so
    that the order of rows is of no effect.

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
    gallery = checked_gallery(gallery, queries)
    if min(nearest_k, expansion_k) < 1 or not 0 <= weight <= 1:
        raise ValueError(
            "nearest_k and expansion_k must be positive and weight in [0, 1]; "
            f"got {nearest_k}, {expansion_k}, {weight}"
        )
    distances = squared_distances(np.concatenate([queries, gallery]))
    members = reciprocal(distances, nearest_k)
    joined = with_neighbours_of(members, reciprocal(distances, round(nearest_k / 2)))
    nearest_few = among_nearest(distances, expansion_k - 1)
    distances /= np.maximum(distances.max(axis=1, keepdims=True), TIE)
    described = np.where(joined, np.exp(-distances), np.float32(0))
    described /= described.sum(axis=1, keepdims=True)
    described = np.stack([described[few].mean(axis=0) for few in nearest_few])
    count = len(queries)
    of_gallery = np.ascontiguousarray(described[count:].T)
    found = weight * distances[:count, count:]
    for row in range(count):
        there = np.flatnonzero(described[row])
        shared = np.minimum(described[row, there, None], of_gallery[there]).sum(axis=0)
        found[row] += (1 - weight) * (1 - shared / (2 - shared))
    return found


def squared_distances(x):
    """Returns the squared distances (N, N), float32, of unit vectors x (N, D).

    From products in float64, so that copies are alike wherever they are.
    """
    distances = np.empty((len(x), len(x)), "float32")
    exact = x.astype("float64")
    for start in range(0, len(x), BLOCK):
        distances[start : start + BLOCK] = 2.0 - 2.0 * exact[start : start + BLOCK] @ exact.T
    return np.maximum(distances, 0.0)


def among_nearest(distances, k):
    """Returns which items (N, N) are among the k nearest of each, the item itself not counted."""
    last = np.partition(distances, min(k, len(distances) - 1), axis=1)
    return distances <= last[:, min(k, len(distances) - 1), None] + TIE


def reciprocal(distances, k):
    """Returns which items (N, N) are among each other's k nearest, and themselves."""
    near = among_nearest(distances, k)
    return near & near.T


def with_neighbours_of(members, half):
    """Returns members (N, N), joined by the sets of `half` that are two thirds within them."""
    joined = members.copy()
    sizes = half.sum(axis=1)
    for row, own in enumerate(members):
        others = np.flatnonzero(own)
        shared = (half[others] & own).sum(axis=1)
        joined[row] |= half[others[3 * shared > 2 * sizes[others]]].any(axis=0)
    return joined
