"""Retrieval metrics (Recall@K, MAP@R, ...) of embeddings that search each other or a gallery."""

import contextlib
import os
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_counts, check_integer, check_known
from dml._storage.unfinished import Unfinished, measuring
from dml.errors import ArrayError
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

_SHOWN = 10  # neighbours returned for each query
_LEAST_MIB = 16


@dataclass(frozen=True, eq=False)
class Retrieval:
    """Retrieval metrics, in [0, 1]: means over the queries that have a positive in the gallery.

    Args:
        recall: {K: share of the queries with a positive among their K nearest}.
        r_precision: Mean share of a query's R positives that are among its R nearest.
        map_at_r: Mean over the queries of 1/R times the sum, over the positives among the R
            nearest, of the precision at their rank (Musgrave et al., ECCV 2020).
        mrr: Mean reciprocal rank of the nearest positive.
        excluded: Number of queries without a positive in the gallery, which no metric counts.
        labels: The label of each query (Q,), as given.
        first_positive: Int64 (Q,): rank of the nearest positive, from 1; 0 if excluded.
        neighbours: Int64 (Q, 10): nearest gallery rows, nearest first; -1 beyond the gallery.
        per_query: {name of the metric: float64 (scored queries,)}.
        classes: Int64 (scored queries,): code of the class of each query, or of its set of labels.
        groups: Int64 (scored queries,): queries of a group resemble each other, and intervals take
            them together: those of a class or, with sets of labels, those that have the same most
            frequent label.
    """

    recall: dict[int, float]
    r_precision: float
    map_at_r: float
    mrr: float
    excluded: int
    labels: np.ndarray
    first_positive: np.ndarray
    neighbours: np.ndarray
    per_query: dict[str, np.ndarray] = field(repr=False)
    classes: np.ndarray = field(repr=False)
    groups: np.ndarray = field(repr=False)

    def metrics(self) -> dict[str, dict[str, float]]:
        """Returns {name: {"value", "low", "high"}} with 95 % intervals (`class_interval`)."""
        values = np.stack(list(self.per_query.values()), axis=1)
        ends = class_interval(values, self.groups)
        return {
            name: {"value": float(mean), "low": float(low), "high": float(high)}
            for name, mean, low, high in zip(
                self.per_query, values.mean(axis=0), *ends, strict=True
            )
        }

    def cmc(self, deepest: int = 50) -> np.ndarray:
        """Returns the cumulative match curve: Recall@1 to Recall@deepest, float64 (deepest,).

        Args:
            deepest: The largest K; positive.
        """
        check_integer(1, deepest=deepest)
        first = self.first_positive[self.first_positive > 0]
        found = np.bincount(first[first <= deepest], minlength=deepest + 1)[1:]
        return np.cumsum(found) / len(first)

    def by_class(self) -> dict[Hashable, dict[str, float]]:
        """Returns {label: {name of the metric: mean over the scored queries of the class}}."""
        codes, first, counts = np.unique(self.classes, return_index=True, return_counts=True)
        names = self.labels[self.first_positive > 0][first].tolist()
        means = {
            metric: np.bincount(self.classes, values, minlength=codes.max() + 1)[codes] / counts
            for metric, values in self.per_query.items()
        }
        return {
            name: {metric: float(values[i]) for metric, values in means.items()}
            for i, name in enumerate(names)
        }


def retrieval(
    embeddings: ArrayLike,
    labels: Labels,
    ks: Iterable[int] = (1, 2, 4, 8),
    gallery: ArrayLike | None = None,
    gallery_labels: Labels | None = None,
    exclude: Labels | None = None,
    gallery_exclude: Labels | None = None,
    extra_metrics: Sequence[str] = (),
    memory_mib: int = MEMORY_MIB,
    advance: Callable[[int], None] | None = None,
    unfinished: str | os.PathLike[str] | None = None,
) -> Retrieval:
    """Measures how well embeddings retrieve their own class by cosine similarity.

    Exact, in blocks: memory does not grow with the square of the size. A query never retrieves
    itself (by index, so that exact duplicates of it still count). Ties count against the model: a
    positive ranks behind every negative whose similarity is equal to within 1e-6, the precision
    of float32, so that collapsed embeddings score 0 and the order of rows has no effect. Queries
    without a positive are excluded and counted.

    Args:
        embeddings: Numbers (Q, D), of any length; a row of zeros is equidistant from all others.
        labels: Q labels of any hashable type, in any array-like (a list, a Series, a tensor),
            none of them None or NaN; or Q sets of labels: a query and its positives share at
            least one.
        ks: The K of Recall@K; positive. 1, 2, 4 and 8 as for CUB-200 and Cars196.
        gallery: Numbers (G, D) to search in. None: the queries search each other.
        gallery_labels: G labels.
        exclude: Q keys of any hashable type. Gallery rows with the key of a query are excluded
            from its search, positives and negatives alike; None or NaN excludes nothing. For
            person re-identification, the pair (person, camera) or the sequence.
        gallery_exclude: G keys.
        extra_metrics: Further metrics: `precision` (share of positives among the K nearest),
            `map` (sum of the precisions at the ranks of the positives among the K nearest, over
            the smaller of K and R) and `ndcg` (relevance 0 or 1) at each of `ks`; `full_map` (mean
            average precision of the whole ranking; several times slower).
        memory_mib: Memory in MiB for blocks of queries, in addition to arrays and result; at least
            16.
        advance: Called with the number of queries done since its last call; None for no calls.
        unfinished: A folder for finished parts, from which an interrupted search continues; it is
            removed at the end. None keeps nothing.

    Returns:
        A `Retrieval`.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite (the message names it), or
            no query has a positive.
        OptionError: An option is out of its range.
        BusyError: Another process measures in the folder `unfinished`.

    Example:
        >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> retrieval(x, ["cat", "cat", "dog", "cat"], ks=(1, 2)).recall
        {1: 0.6666666666666666, 2: 1.0}
    """
    queries = checked_embeddings(embeddings, "embeddings")
    query_labels = _as_hashable(checked_labels(labels, len(queries), "labels"))
    ks = tuple(ks)
    _check_options(ks, extra_metrics, memory_mib)
    ks = tuple(sorted({int(k) for k in ks}))  # NumPy's integers can't be written as JSON
    itself = gallery is None
    if gallery is None:
        if gallery_labels is not None:
            raise ArrayError("gallery_labels need a gallery: give its embeddings, too")
        references, reference_labels = queries, None
    else:
        references = checked_gallery(gallery, queries)
        reference_labels = checked_labels(
            () if gallery_labels is None else gallery_labels, len(references), "gallery_labels"
        )
    excluded = _keys(exclude, gallery_exclude, len(queries), None if itself else len(references))
    relevance = Relevance(by_label(query_labels, reference_labels), excluded, itself)
    scored = relevance.positives > 0
    if not scored.any():
        reason = "every class has one sample only" if excluded is None else "`exclude` takes all"
        raise ArrayError(f"no query has a positive: {reason}")
    scores = Scores(ks, tuple(extra_metrics))
    with measuring(unfinished) if unfinished else contextlib.nullcontext():
        kept = None
        if unfinished:
            kept = Unfinished(
                unfinished,
                [queries, references, *_every_code(relevance)],
                {"ks": ks, "extra_metrics": list(extra_metrics), "itself": itself},
            )
        ranks = rank_positives(
            queries, references, relevance, scores, _SHOWN, memory_mib, advance, kept
        )
    first = ranks.first[scored]
    recall = {k: (first <= k).astype("float64") for k in ks}
    per_query = {f"R@{k}": hits for k, hits in recall.items()}
    per_query.update(zip(scores.names, ranks.values[scored].T, strict=True))
    per_query["MRR"] = 1.0 / first
    (classes,) = codes(query_labels)
    groups = classes[scored]
    if isinstance(relevance.same, SharedLabel):
        groups = relevance.same.most_frequent_labels(np.flatnonzero(scored))
    return Retrieval(
        recall={k: float(hits.mean()) for k, hits in recall.items()},
        r_precision=float(per_query["R-precision"].mean()),
        map_at_r=float(per_query["MAP@R"].mean()),
        mrr=float(per_query["MRR"].mean()),
        excluded=int((~scored).sum()),
        labels=query_labels,
        first_positive=ranks.first,
        neighbours=ranks.neighbours,
        per_query=per_query,
        classes=classes[scored],
        groups=groups,
    )


def _check_options(ks, extra_metrics, memory_mib):
    """Raises OptionError for an option of `retrieval` that is out of its range."""
    check_counts(ks=ks)
    for name in extra_metrics:
        check_known(EXTRA_METRICS, extra_metrics=name)
    check_integer(_LEAST_MIB, memory_mib=memory_mib)


def _keys(exclude, gallery_exclude, queries, gallery):
    """Returns what is excluded from each query's search; None for nothing.

    Args:
        exclude: As in `retrieval`.
        gallery_exclude: As in `retrieval`.
        queries: Number of queries.
        gallery: Number of gallery rows; None if the queries search each other.
    """
    if exclude is None and gallery_exclude is None:
        return None
    if exclude is None or (gallery_exclude is None) != (gallery is None):
        raise ArrayError("exclude and gallery_exclude go together, and the latter with a gallery")
    keys = checked_keys(exclude, queries, "exclude")
    if gallery is not None:
        gallery_exclude = checked_keys(gallery_exclude, gallery, "gallery_exclude")
    return by_key(keys, gallery_exclude)


def _every_code(relevance):
    """Returns the arrays that define which rows are positives and which are excluded."""
    same, out = relevance.same, relevance.left_out
    if isinstance(same, SharedLabel):
        arrays = [x for m in (same.queries, same.gallery) for x in (m.indptr, m.indices)]
    else:
        arrays = [same.query_codes, same.gallery_codes]
    return arrays if out is None else [*arrays, out.query_codes, out.gallery_codes]


def _as_hashable(labels):
    """Returns labels with frozen sets in place of sets."""
    if not any(isinstance(label, set) for label in labels.tolist()):
        return labels
    frozen = np.empty(len(labels), dtype=object)
    frozen[:] = [frozenset(v) if isinstance(v, set) else v for v in labels.tolist()]
    return frozen
