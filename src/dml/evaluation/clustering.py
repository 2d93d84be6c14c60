"""Agreement of clusters with the classes: by k-means, and by a threshold on the similarity."""

from dataclasses import dataclass

import numpy as np

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
        pairwise_f1: Float64 (runs,): harmonic mean of precision and recall of "these two are of
            one class", over all pairs; in [0, 1].
    """

    nmi: np.ndarray
    ami: np.ndarray
    ari: np.ndarray
    pairwise_f1: np.ndarray

    def metrics(self):
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


def clustering(embeddings, labels, seeds=3, iterations=20):
    """Clusters unit embeddings by k-means into as many clusters as there are classes.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        seeds: Runs, with the seeds 0, 1, ...; positive.
        iterations: Of k-means; positive. 20 as in faiss' evaluations.

    Returns:
        A `Clustering`.

    Raises:
        ValueError: An array is of the wrong shape, or a row is not finite.
    """
    import faiss

    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    if seeds < 1:
        raise ValueError(f"seeds must be positive; got {seeds}")
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
        _, clusters = kmeans.index.search(vectors, 1)
        scores.append(agreement(classes, clusters[:, 0]))
    return Clustering(*np.array(scores).T)


def threshold_clustering(embeddings, labels, threshold):
    """Scores the clusters of a threshold on the similarity, whose number nobody has to know.

    Args:
        embeddings: Numbers (N, D), of any length.
        labels: N labels of any hashable type, in any array-like.
        threshold: Of the cosine similarity, as of `threshold_clusters`.

    Returns:
        A `Clustering` of one run.

    Raises:
        ValueError: As of `threshold_clusters`, or there are not N labels.
    """
    clusters = threshold_clusters(embeddings, threshold)
    (classes,) = codes(checked_labels(labels, len(clusters), "labels"))
    return Clustering(*np.array([agreement(classes, clusters)]).T)


def threshold_clusters(embeddings, threshold):
    """Puts images into one cluster that are as similar as a threshold, or joined by such pairs.

    The connected components of the graph of these pairs (single linkage): what de-duplication
    wants, with a threshold of few false accepts (`threshold_for_far`). One wrong pair joins two
    clusters. Memory grows with the number of pairs above the threshold.

    Args:
        embeddings: Numbers (N, D), of any length.
        threshold: The least cosine similarity of a pair, as near as float32 can tell; in [-1, 1].

    Returns:
        Int32 (N,): the cluster of each row, from 0.

    Raises:
        ValueError: The array is of the wrong shape, a row is not finite, or the threshold is out
            of its range.
    """
    import faiss
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    vectors = checked_embeddings(embeddings, "embeddings")
    if not -1 <= threshold <= 1:
        raise ValueError(f"threshold must be in [-1, 1]; got {threshold}")
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    pairs = []
    for start in range(0, len(vectors), BLOCK):
        # Copies are in it at a threshold of 1, too, however their product is rounded.
        radius = float(np.float32(threshold - TIE - rounding(vectors)))
        ends, _, found = index.range_search(vectors[start : start + BLOCK], radius)
        rows = start + np.repeat(np.arange(len(ends) - 1), np.diff(ends).astype("int64"))
        later = found > rows
        pairs.append((rows[later], found[later]))
    rows, columns = (np.concatenate(part) for part in zip(*pairs, strict=True))
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(len(vectors),) * 2)
    return connected_components(graph, directed=False)[1]


def agreement(classes, clusters):
    """Returns NMI, AMI, ARI and pairwise F1 of clusters (N,) and classes (N,)."""
    from sklearn import metrics

    pair = classes, clusters
    return (
        metrics.normalized_mutual_info_score(*pair),
        metrics.adjusted_mutual_info_score(*pair),
        metrics.adjusted_rand_score(*pair),
        pairwise_f1(*pair),
    )


def pairwise_f1(classes, clusters):
    """Returns the F1 score of clusters (N,) as statements of which pairs are of one class."""

    def pairs(of):
        counts = np.unique(of, return_counts=True)[1].astype("int64")
        return (counts * (counts - 1) // 2).sum()

    both = classes.astype("int64") * (int(clusters.max()) + 1) + clusters
    every = pairs(classes) + pairs(clusters)
    return float(2 * pairs(both) / every) if every else 0.0
