"""Agreement of clusters with classes, for k-means and for a threshold on the similarity."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_integer, check_within
from dml.evaluation._arrays import checked_embeddings, checked_labels, codes
from dml.evaluation._neighbours import BLOCK, TIE, rounding


@dataclass(frozen=True, eq=False)
class Clustering:
    """Scores of one clustering or of several runs.

    Args:
        nmi: Float64 (runs,): normalised mutual information (arithmetic mean), in [0, 1]. Inflated
            by many small clusters: about 0.9 for anything on Stanford Online Products.
        ami: Float64 (runs,): the same adjusted for chance, at most 1; about 0 for chance.
        ari: Float64 (runs,): adjusted Rand index, at most 1; about 0 for chance.
        pairwise_f1: Float64 (runs,): harmonic mean of precision and recall over all pairs, for the
            statement that both are of one class; in [0, 1].
    """

    nmi: np.ndarray
    ami: np.ndarray
    ari: np.ndarray
    pairwise_f1: np.ndarray

    def metrics(self) -> dict[str, dict[str, float]]:
        """Returns {name: {"value": mean, "spread": standard deviation over the runs}}."""
        return {
            name: {"value": float(scores.mean()), "spread": float(scores.std())}
            for name, scores in (
                ("NMI", self.nmi),
                ("AMI", self.ami),
                ("ARI", self.ari),
                ("pairwise F1", self.pairwise_f1),
            )
        }


def clustering(
    embeddings: ArrayLike, labels: Labels, seeds: int = 3, iterations: int = 20
) -> Clustering:
    """Scores k-means of unit embeddings, with as many clusters as there are classes.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        seeds: Number of runs, with the seeds 0, 1, ...; positive.
        iterations: Iterations of k-means; positive. 20 as in the evaluations of faiss.

    Returns:
        A `Clustering` with one score of each run.

    Raises:
        ArrayError: An array is of the wrong shape, or a row is not finite.
        OptionError: An option is out of its range.

    Example:
        >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> clustering(x, ["cat", "cat", "dog", "dog"], seeds=1).nmi
        array([1.])
    """
    import faiss

    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    check_integer(1, seeds=seeds, iterations=iterations)
    scores = []
    for seed in range(seeds):
        kmeans = faiss.Kmeans(
            vectors.shape[1],
            int(classes.max()) + 1,
            niter=iterations,
            seed=seed,
            min_points_per_centroid=1,
            max_points_per_centroid=len(vectors),  # no subsampling
        )
        kmeans.train(vectors)
        index: Any = kmeans.index
        _, clusters = index.search(vectors, 1)
        scores.append(_agreement(classes, clusters[:, 0]))
    return Clustering(*np.array(scores).T)


def threshold_clustering(embeddings: ArrayLike, labels: Labels, threshold: float) -> Clustering:
    """Scores the clusters that `threshold_clusters` finds, whose number need not be known.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        threshold: Least cosine similarity of a pair, as in `threshold_clusters`.

    Returns:
        A `Clustering` of one run.

    Raises:
        ArrayError: As in `threshold_clusters`, or there are not N labels.
        OptionError: As in `threshold_clusters`.
    """
    clusters = threshold_clusters(embeddings, threshold)
    (classes,) = codes(checked_labels(labels, len(clusters), "labels"))
    return Clustering(*np.array([_agreement(classes, clusters)]).T)


def threshold_clusters(embeddings: ArrayLike, threshold: float) -> np.ndarray:
    """Clusters images by single linkage: pairs at least as similar as a threshold are linked.

    The clusters are the connected components of the graph of these pairs. Suitable for
    deduplication, with a threshold of few false accepts (`threshold_for_far`), since one wrong pair
    merges two clusters. Memory grows with the number of pairs above the threshold.

    Args:
        embeddings: Numbers (N, D), of any length.
        threshold: Least cosine similarity of a linked pair, to the precision of float32; in
            [-1, 1].

    Returns:
        Int32 (N,): the cluster of each row, from 0.

    Raises:
        ArrayError: The array is of the wrong shape, or a row is not finite.
        OptionError: The threshold is out of its range.

    Example:
        >>> threshold_clusters([[1.0, 0.0], [0.0, 1.0], [1.0, 0.1]], 0.9)
        array([0, 1, 0], dtype=int32)
    """
    import faiss
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    vectors = checked_embeddings(embeddings, "embeddings")
    check_within(-1, 1, threshold=threshold)
    index: Any = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    # Slightly less than the threshold, so that copies are linked at 1 despite rounding.
    radius = float(np.float32(threshold - TIE - rounding(vectors)))
    pairs = []
    for start in range(0, len(vectors), BLOCK):
        ends, _, found = index.range_search(vectors[start : start + BLOCK], radius)
        rows = start + np.repeat(np.arange(len(ends) - 1), np.diff(ends).astype("int64"))
        later = found > rows
        pairs.append((rows[later], found[later]))
    rows, columns = (np.concatenate(part) for part in zip(*pairs, strict=True))
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(vectors),) * 2)
    return connected_components(graph, directed=False)[1]


def _agreement(classes, clusters):
    """Returns NMI, AMI, ARI and pairwise F1 of clusters (N,) and classes (N,)."""
    from sklearn import metrics

    pair = classes, clusters
    return (
        metrics.normalized_mutual_info_score(*pair),
        metrics.adjusted_mutual_info_score(*pair),
        metrics.adjusted_rand_score(*pair),
        _pairwise_f1(*pair),
    )


def _pairwise_f1(classes, clusters):
    """Returns the F1 score of clusters (N,) as predictions of the pairs of one class."""

    def pairs(of):
        counts = np.unique(of, return_counts=True)[1].astype("int64")
        return (counts * (counts - 1) // 2).sum()

    both = classes.astype("int64") * (int(clusters.max()) + 1) + clusters
    every = pairs(classes) + pairs(clusters)
    return float(2 * pairs(both) / every) if every else 0.0
