"""Recall@K, R-precision, MAP@R and MRR of embeddings that search each other or a gallery."""

from dataclasses import dataclass, field

import numpy as np

from dml.evaluation.arrays import checked_embeddings, checked_labels, codes
from dml.evaluation.intervals import bootstrap
from dml.evaluation.neighbours import rank_positives

SHOWN = 10  # neighbours kept for each query


@dataclass(frozen=True, eq=False)
class Retrieval:
    """How well queries find their class. Shares are in [0, 1]; excluded queries are in none.

    Args:
        recall: {K: share of the queries with a positive among their K nearest}.
        r_precision: Mean share of a query's R positives that are among its R nearest.
        map_at_r: Mean over the queries of 1/R times the sum, over the positives among the R
            nearest, of the precision at their rank (Musgrave et al., ECCV 2020).
        mrr: Mean reciprocal rank of the nearest positive.
        excluded: Queries without a positive in the gallery, which are left out.
        labels: The label of each query (Q,), as given.
        first_positive: Int64 (Q,): rank of the nearest positive, from 1; 0 if excluded.
        neighbours: Int64 (Q, 10): nearest gallery rows, nearest first; -1 beyond the gallery.
        per_query: {figure's name: float64 (scored queries,)}.
        classes: Int64 (scored queries,): code of the class of each.
    """

    recall: dict
    r_precision: float
    map_at_r: float
    mrr: float
    excluded: int
    labels: np.ndarray
    first_positive: np.ndarray
    neighbours: np.ndarray
    per_query: dict = field(repr=False)
    classes: np.ndarray = field(repr=False)

    def figures(self, repeats=1000, seed=0):
        """Returns {name: {"value", "low", "high"}} with 95 % bootstrap intervals by class.

        Args:
            repeats: Resamples; positive.
            seed: Of the resampling.
        """
        values = np.stack(list(self.per_query.values()), axis=1)
        ends = bootstrap(values, self.classes, repeats, seed)
        return {
            name: {"value": float(mean), "low": float(low), "high": float(high)}
            for name, mean, low, high in zip(
                self.per_query, values.mean(axis=0), *ends, strict=True
            )
        }

    def by_class(self):
        """Returns {label: {figure's name: mean over the class's scored queries}}."""
        codes, first, counts = np.unique(self.classes, return_index=True, return_counts=True)
        names = self.labels[self.first_positive > 0][first].tolist()
        means = {
            figure: np.bincount(self.classes, values, minlength=codes.max() + 1)[codes] / counts
            for figure, values in self.per_query.items()
        }
        return {
            name: {figure: float(values[i]) for figure, values in means.items()}
            for i, name in enumerate(names)
        }


def retrieval(embeddings, labels, ks=(1, 2, 4, 8), gallery=None, gallery_labels=None):
    """Measures how well embeddings find their own class by cosine similarity.

    Exact, in blocks: memory does not grow with the square of the size. A query never finds itself
    (by index, so that exact duplicates of it count as what they are). Ties count against the
    model: a positive ranks behind every negative as similar as it to within 1e-6, what float32
    can tell apart, so that collapsed embeddings score nothing and the order of rows is of no
    effect. Queries without a positive are excluded and counted.

    Args:
        embeddings: Numbers (Q, D), of any length; a row of zeros is as near to all others.
        labels: Q labels of any hashable type.
        ks: The K of Recall@K; positive.
        gallery: Numbers (G, D) to search in. None: the queries search each other.
        gallery_labels: G labels.

    Returns:
        A `Retrieval`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite (the message names
            it), a K is not positive, or no query has a positive.
    """
    queries = checked_embeddings(embeddings, "embeddings")
    labels = checked_labels(labels, len(queries), "labels")
    ks = tuple(sorted(set(ks)))
    if not ks or ks[0] < 1:
        raise ValueError(f"ks must be positive; got {ks}")
    if gallery is None:
        (query_codes,), gallery_codes = codes(labels), None
    else:
        gallery = checked_embeddings(gallery, "gallery")
        gallery_labels = checked_labels(gallery_labels, len(gallery), "gallery_labels")
        if gallery.shape[1] != queries.shape[1]:
            raise ValueError(
                f"the gallery has {gallery.shape[1]} dimensions, the queries {queries.shape[1]}"
            )
        query_codes, gallery_codes = codes(labels, gallery_labels)
    ranks = rank_positives(queries, query_codes, gallery, gallery_codes, SHOWN)
    scored = ranks.positives > 0
    if not scored.any():
        raise ValueError("no query has a positive: every class has one sample only")
    first = ranks.first[scored]
    recall = {k: (first <= k).astype("float64") for k in ks}
    per_query = {f"R@{k}": hits for k, hits in recall.items()}
    per_query["R-precision"] = ranks.precision_at_r[scored]
    per_query["MAP@R"] = ranks.average_precision_at_r[scored]
    per_query["MRR"] = 1.0 / first
    return Retrieval(
        recall={k: float(hits.mean()) for k, hits in recall.items()},
        r_precision=float(per_query["R-precision"].mean()),
        map_at_r=float(per_query["MAP@R"].mean()),
        mrr=float(per_query["MRR"].mean()),
        excluded=int((~scored).sum()),
        labels=labels,
        first_positive=ranks.first,
        neighbours=ranks.neighbours,
        per_query=per_query,
        classes=query_codes[scored],
    )
