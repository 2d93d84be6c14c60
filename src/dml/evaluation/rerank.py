"""Query expansion, database augmentation and re-ranking: neighbours improve a ranking."""

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_at_least, check_integer, check_within
from dml.evaluation._arrays import checked_embeddings, checked_gallery
from dml.evaluation._neighbours import BLOCK, TIE, nearest, without


def expand_queries(
    queries: ArrayLike, gallery: ArrayLike, neighbours: int = 10, alpha: float = 3.0
) -> np.ndarray:
    """Replaces each query by a weighted mean of itself and its nearest of the gallery (alpha-QE).

    The weight of a neighbour is its similarity to the power of alpha (Radenovic et al., TPAMI
    2018), and 0 where the similarity is negative; that of the query itself is 1. A query that is
    also in the gallery is its own nearest neighbour there: leave it out, or use
    `augment_gallery`.

    Args:
        queries: Numbers (Q, D), of any length.
        gallery: Numbers (G, D).
        neighbours: How many of the nearest gallery vectors are averaged; at least 0. All of a
            smaller gallery.
        alpha: Exponent of the weights; at least 0. 3 in the paper; 0 gives all the same weight.

    Returns:
        Float32 (Q, D), of unit length.

    Raises:
        ArrayError: An array is of the wrong shape, or a row is not finite.
        OptionError: An option is negative.

    Example:
        >>> expand_queries([[1.0, 0.0]], [[0.6, 0.8]], neighbours=1, alpha=0.0).round(4)
        array([[0.8944, 0.4472]], dtype=float32)
    """
    vectors = checked_embeddings(queries, "queries")
    references = checked_gallery(gallery, vectors)
    return _mixed(vectors, references, neighbours, alpha, itself=False)


def augment_gallery(gallery: ArrayLike, neighbours: int = 10, alpha: float = 3.0) -> np.ndarray:
    """Replaces each vector of a gallery by a weighted mean of itself and its nearest others (DBA).

    Done once, before an index is built, so that queries take no longer (Arandjelovic and
    Zisserman, CVPR 2012).

    Args:
        gallery: Numbers (G, D), of any length.
        neighbours: How many of the nearest other vectors are averaged; at least 0. All of a
            smaller gallery.
        alpha: As in `expand_queries`.

    Returns:
        Float32 (G, D), of unit length.

    Raises:
        ArrayError: The array is of the wrong shape, or a row is not finite.
        OptionError: An option is negative.

    Example:
        >>> augment_gallery([[1.0, 0.0], [0.6, 0.8]], neighbours=1, alpha=0.0).round(4)
        array([[0.8944, 0.4472],
               [0.8944, 0.4472]], dtype=float32)
    """
    vectors = checked_embeddings(gallery, "gallery")
    return _mixed(vectors, vectors, neighbours, alpha, itself=True)


def _mixed(queries, gallery, neighbours, alpha, itself):
    """Returns the weighted means of queries and their nearest, of unit length.

    Args:
        queries: Float32 (Q, D), of unit length.
        gallery: Float32 (G, D), of unit length.
        neighbours: As in `expand_queries`.
        alpha: As in `expand_queries`.
        itself: Whether query i is row i of the gallery, and so not its own neighbour.
    """
    from scipy.sparse import csr_array

    check_integer(0, neighbours=neighbours)
    check_at_least(0, alpha=alpha)
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
        # A sparse matrix (B, G), so that no (B, K, D) vectors are copied.
        ends = np.arange(len(rows) + 1) * rows.shape[1]
        chosen = csr_array((weights.ravel(), rows.ravel(), ends), (len(rows), len(gallery)))
        expanded[part] = queries[part] + chosen @ gallery
    return checked_embeddings(expanded, "expanded queries")


def k_reciprocal(
    queries: ArrayLike,
    gallery: ArrayLike,
    nearest_k: int = 20,
    expansion_k: int = 6,
    weight: float = 0.3,
) -> np.ndarray:
    """Returns distances for re-ranking with k-reciprocal neighbours.

    Zhong et al. (CVPR 2017), and the authors' code: an item is described by its k-reciprocal
    neighbours (those among its nearest `nearest_k` that have it among theirs, and itself), extended
    by the `nearest_k` / 2-reciprocal neighbours of each of them that share more than two thirds
    with the item's original k-reciprocal neighbours. Each has the weight exp(-d), where d is the
    squared distance divided by the largest of its row; descriptions sum to 1, are averaged over the
    nearest `expansion_k`, the item among them, and their Jaccard distance is mixed with d. Items as
    near as the last one taken, to within 1e-6, are taken as well, so that the order of rows has no
    effect.

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
        ArrayError: An array is of the wrong shape, or a row is not finite.
        OptionError: An option is out of its range.

    Example:
        >>> distances = k_reciprocal([[1.0, 0.0]], [[0.0, 1.0], [1.0, 0.1]], nearest_k=1)
        >>> distances.argmin(axis=1)
        array([1])
    """
    vectors = checked_embeddings(queries, "queries")
    references = checked_gallery(gallery, vectors)
    check_integer(1, nearest_k=nearest_k, expansion_k=expansion_k)
    check_within(0, 1, weight=weight)
    distances = _squared_distances(np.concatenate([vectors, references]))
    members = _reciprocal(distances, nearest_k)
    joined = _with_neighbours_of(members, _reciprocal(distances, round(nearest_k / 2)))
    nearest_few = _among_nearest(distances, expansion_k - 1)
    distances /= np.maximum(distances.max(axis=1, keepdims=True), TIE)
    described = np.where(joined, np.exp(-distances), np.float32(0))
    described /= described.sum(axis=1, keepdims=True)
    described = np.stack([described[few].mean(axis=0) for few in nearest_few])
    count = len(vectors)
    of_gallery = np.ascontiguousarray(described[count:].T)
    found = weight * distances[:count, count:]
    for row in range(count):
        there = np.flatnonzero(described[row])
        shared = np.minimum(described[row, there, None], of_gallery[there]).sum(axis=0)
        found[row] += (1 - weight) * (1 - shared / (2 - shared))
    return found


def _squared_distances(x):
    """Returns the squared distances (N, N), float32, of unit vectors x (N, D).

    From products in float64, so that copies are equally far, wherever they are.
    """
    distances = np.empty((len(x), len(x)), "float32")
    exact = x.astype("float64")
    for start in range(0, len(x), BLOCK):
        distances[start : start + BLOCK] = 2.0 - 2.0 * exact[start : start + BLOCK] @ exact.T
    return np.maximum(distances, 0.0)


def _among_nearest(distances, k):
    """Returns which items (N, N) are among the k nearest of each, the item itself not counted."""
    last = np.partition(distances, min(k, len(distances) - 1), axis=1)
    return distances <= last[:, min(k, len(distances) - 1), None] + TIE


def _reciprocal(distances, k):
    """Returns which items (N, N) are among each other's k nearest, and themselves."""
    near = _among_nearest(distances, k)
    return near & near.T


def _with_neighbours_of(members, half):
    """Returns members (N, N), extended by the sets of `half` of which two thirds are members."""
    joined = members.copy()
    sizes = half.sum(axis=1)
    for row, own in enumerate(members):
        others = np.flatnonzero(own)
        shared = (half[others] & own).sum(axis=1)
        joined[row] |= half[others[3 * shared > 2 * sizes[others]]].any(axis=0)
    return joined
