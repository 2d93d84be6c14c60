"""Recall@K, MAP@R and their like, of embeddings that search each other or a gallery."""

import contextlib
from dataclasses import dataclass, field

import numpy as np

from dml._storage.unfinished import Unfinished, measuring
from dml.evaluation._arrays import (
    checked_embeddings,
    checked_gallery,
    checked_keys,
    checked_labels,
    codes,
)
from dml.evaluation._neighbours import MEMORY_MIB, rank_positives
from dml.evaluation._relevance import Relevance, SharedLabel, by_key, by_label
from dml.evaluation._scores import EXTRA_METRICS, Scores
from dml.evaluation.intervals import class_interval

SHOWN = 10  # neighbours kept for each query
LEAST_MIB = 16


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
        classes: Int64 (scored queries,): code of the class of each; of its set of labels, where
            labels are sets.
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

    def metrics(self):
        """Returns {name: {"value", "low", "high"}} with 95 % intervals for other classes."""
        values = np.stack(list(self.per_query.values()), axis=1)
        ends = class_interval(values, self.classes)
        return {
            name: {"value": float(mean), "low": float(low), "high": float(high)}
            for name, mean, low, high in zip(
                self.per_query, values.mean(axis=0), *ends, strict=True
            )
        }

    def cmc(self, deepest=50):
        """Returns the cumulative match curve: Recall@1 to Recall@deepest, float64 (deepest,)."""
        first = self.first_positive[self.first_positive > 0]
        found = np.bincount(first[first <= deepest], minlength=deepest + 1)[1:]
        return np.cumsum(found) / len(first)

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


def retrieval(
    embeddings,
    labels,
    ks=(1, 2, 4, 8),
    gallery=None,
    gallery_labels=None,
    exclude=None,
    gallery_exclude=None,
    extra_metrics=(),
    memory_mib=MEMORY_MIB,
    advance=None,
    unfinished=None,
):
    """Measures how well embeddings find their own class by cosine similarity.

    Exact, in blocks: memory does not grow with the square of the size. A query never finds itself
    (by index, so that exact duplicates of it count as what they are). Ties count against the
    model: a positive ranks behind every negative as similar as it to within 1e-6, what float32
    can tell apart, so that collapsed embeddings score nothing and the order of rows is of no
    effect. Queries without a positive are excluded and counted.

    Args:
        embeddings: Numbers (Q, D), of any length; a row of zeros is as near to all others.
        labels: Q labels of any hashable type, in any array-like (a list, a Series, a tensor),
            none of them None or NaN; or Q sets of labels, of which a query and its positives
            share at least one.
        ks: The K of Recall@K; positive.
        gallery: Numbers (G, D) to search in. None: the queries search each other.
        gallery_labels: G labels.
        exclude: Q keys of any hashable type. Gallery rows of a query's key are left out of its
            search, positives and negatives alike; None or NaN leaves nothing out.
            Re-identification: (person, camera), so that none is found by the same camera; or the
            sequence.
        gallery_exclude: G keys.
        extra_metrics: Further metrics: `precision` (share of positives among the K nearest),
            `map` (sum of the precisions at the ranks of the positives among the K nearest, over
            the smaller of K and R) and `ndcg` (relevance 0 or 1) at each of `ks`; `full_map` (mean
            average precision of the whole ranking; every query is counted in float64, some times
            slower).
        memory_mib: Memory for blocks of queries, beside arrays and result; at least 16.
        advance: Called with the number of queries done since its last call; None for silence.
        unfinished: A folder that keeps what is done until all is, so that a search that was
            stopped goes on; None for keeping nothing.

    Returns:
        A `Retrieval`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite (the message names
            it), an option is out of its range, no query has a positive, or another process
            measures in the folder `unfinished`.
    """
    queries = checked_embeddings(embeddings, "embeddings")
    labels = as_hashable(checked_labels(labels, len(queries), "labels"))
    ks = tuple(sorted(set(ks)))
    check_options(ks, extra_metrics, memory_mib)
    itself = gallery is None
    if itself:
        gallery, gallery_labels = queries, None
    else:
        gallery = checked_gallery(gallery, queries)
        gallery_labels = checked_labels(gallery_labels, len(gallery), "gallery_labels")
    left_out = keys_of(exclude, gallery_exclude, len(queries), None if itself else len(gallery))
    relevance = Relevance(by_label(labels, gallery_labels), left_out, itself)
    scored = relevance.positives > 0
    if not scored.any():
        reason = "every class has one sample only" if left_out is None else "`exclude` takes all"
        raise ValueError(f"no query has a positive: {reason}")
    scores = Scores(ks, tuple(extra_metrics))
    with measuring(unfinished) if unfinished else contextlib.nullcontext():
        kept = unfinished and Unfinished(
            unfinished,
            [queries, gallery, *every_code(relevance)],
            {"ks": ks, "extra_metrics": list(extra_metrics), "itself": itself},
        )
        ranks = rank_positives(
            queries, gallery, relevance, scores, SHOWN, memory_mib, advance, kept
        )
    first = ranks.first[scored]
    recall = {k: (first <= k).astype("float64") for k in ks}
    per_query = {f"R@{k}": hits for k, hits in recall.items()}
    per_query.update(zip(scores.names, ranks.values[scored].T, strict=True))
    per_query["MRR"] = 1.0 / first
    (classes,) = codes(labels)
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
        classes=classes[scored],
    )


def check_options(ks, extra_metrics, memory_mib):
    """Raises ValueError for an option of `retrieval` that is out of its range."""
    if not ks or ks[0] < 1:
        raise ValueError(f"ks must be positive; got {ks}")
    if unknown := [name for name in extra_metrics if name not in EXTRA_METRICS]:
        raise ValueError(f"extra_metrics knows {', '.join(EXTRA_METRICS)}; got {unknown[0]!r}")
    if memory_mib < LEAST_MIB:
        raise ValueError(f"memory_mib must be at least {LEAST_MIB}; got {memory_mib}")


def keys_of(exclude, gallery_exclude, queries, gallery):
    """Returns what is left out of each query's search; None for nothing.

    Args:
        exclude: As of `retrieval`.
        gallery_exclude: As of `retrieval`.
        queries: How many.
        gallery: How many; None where the queries search each other.
    """
    if exclude is None and gallery_exclude is None:
        return None
    if exclude is None or (gallery_exclude is None) != (gallery is None):
        raise ValueError("exclude and gallery_exclude go together, and the latter with a gallery")
    keys = checked_keys(exclude, queries, "exclude")
    if gallery is not None:
        gallery_exclude = checked_keys(gallery_exclude, gallery, "gallery_exclude")
    return by_key(keys, gallery_exclude)


def every_code(relevance):
    """Returns the arrays that say which rows belong together and which are left out."""
    same, out = relevance.same, relevance.left_out
    if isinstance(same, SharedLabel):
        arrays = [x for m in (same.queries, same.gallery) for x in (m.indptr, m.indices)]
    else:
        arrays = [same.query_codes, same.gallery_codes]
    return arrays if out is None else [*arrays, out.query_codes, out.gallery_codes]


def as_hashable(labels):
    """Returns labels with frozen sets in place of sets."""
    if not any(isinstance(label, set) for label in labels.tolist()):
        return labels
    frozen = np.empty(len(labels), dtype=object)
    frozen[:] = [frozenset(v) if isinstance(v, set) else v for v in labels.tolist()]
    return frozen
