"""Metrics of each query, from the ranks of its positives."""

from dataclasses import dataclass

import numpy as np

AT_K = {"precision": "P", "map": "MAP", "ndcg": "NDCG"}
EXTRA_METRICS = (*AT_K, "full_map")


@dataclass(frozen=True)
class Scores:
    """Which metrics to compute, and how deep the ranks must be known for them.

    Args:
        ks: The K of metrics at K; positive, rising.
        extra_metrics: Metrics in addition to R-precision and MAP@R, from `EXTRA_METRICS`:
            `precision`, `map` and `ndcg` at each K, `full_map` over the whole ranking.
    """

    ks: tuple[int, ...]
    extra_metrics: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The metrics' names, in the order of the columns."""
        at_k = [f"{AT_K[name]}@{k}" for name in AT_K if name in self.extra_metrics for k in self.ks]
        return [
            "R-precision",
            "MAP@R",
            *at_k,
            *(["MAP"] if "full_map" in self.extra_metrics else []),
        ]

    @property
    def depth(self) -> int:
        """Number of ranks that the metrics at K need; 0 without any."""
        return max(self.ks) if set(self.extra_metrics) & set(AT_K) else 0

    def horizon(self, positives: np.ndarray, gallery: int) -> np.ndarray:
        """Returns the largest rank (Q,) at which a positive still counts for its query.

        Args:
            positives: Integers (Q,).
            gallery: Number of gallery rows.
        """
        if "full_map" in self.extra_metrics:
            return np.full(len(positives), gallery)
        return np.minimum(np.maximum(positives, self.depth), gallery)

    def columns(self, query, order, rank, positives):
        """Returns rank of the nearest positive, and the metrics: float64 (Q, 1 + names).

        Args:
            query: Integers (P,), in [0, Q): whose positive it is.
            order: Integers (P,): which of the query's positives, the nearest being 1.
            rank: Integers (P,): its place in the ranking, from 1.
            positives: Integers (Q,): positives of each query. Those that are not among the P
                count as beyond every horizon.
        """
        count = len(positives)
        r = np.maximum(positives, 1)

        def total(values, where):
            return np.bincount(query[where], values[where], minlength=count)

        first = np.zeros(count)
        first[query[order == 1]] = rank[order == 1]
        precision, every = order / rank, np.ones(len(rank))
        own = rank <= r[query]
        found = [first, total(every, own) / r, total(precision, own) / r]
        for name in AT_K:
            for k in self.ks if name in self.extra_metrics else ():
                near, most = rank <= k, np.minimum(r, k)
                if name == "precision":
                    found.append(total(every, near) / k)
                elif name == "map":
                    found.append(total(precision, near) / most)
                else:
                    gains = np.cumsum(1 / np.log2(np.arange(2, most.max() + 2)))
                    found.append(total(1 / np.log2(rank + 1), near) / gains[most - 1])
        if "full_map" in self.extra_metrics:
            found.append(total(precision, slice(None)) / r)
        return np.stack(found, axis=1)
