"""Agreement of k-means clusters with the classes."""

from dataclasses import dataclass

import numpy as np

from dml.evaluation.arrays import checked_embeddings, checked_labels, codes


@dataclass(frozen=True, eq=False)
class Clustering:
    """Scores of several runs of k-means.

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

    def figures(self):
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
        labels: N labels of any hashable type.
        seeds: Runs, with the seeds 0, 1, ...; positive.
        iterations: Of k-means; positive. 20 as in faiss' evaluations.

    Returns:
        A `Clustering`.

    Raises:
        ValueError: An array is of the wrong shape, or a row is not finite.
    """
    import faiss
    from sklearn import metrics

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
        pair = classes, clusters[:, 0]
        scores.append(
            (
                metrics.normalized_mutual_info_score(*pair),
                metrics.adjusted_mutual_info_score(*pair),
                metrics.adjusted_rand_score(*pair),
                pairwise_f1(*pair),
            )
        )
    return Clustering(*np.array(scores).T)


def pairwise_f1(classes, clusters):
    """Returns the F1 score of clusters (N,) as statements of which pairs are of one class."""

    def pairs(of):
        counts = np.unique(of, return_counts=True)[1].astype("int64")
        return (counts * (counts - 1) // 2).sum()

    both = classes.astype("int64") * (int(clusters.max()) + 1) + clusters
    every = pairs(classes) + pairs(clusters)
    return float(2 * pairs(both) / every) if every else 0.0
