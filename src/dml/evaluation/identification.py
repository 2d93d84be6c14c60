"""Open-set identification: queries of which some are in no gallery."""

from dataclasses import dataclass, field

import numpy as np

from dml.evaluation._arrays import (
    checked_embeddings,
    checked_gallery,
    checked_labels,
    shared_codes,
)
from dml.evaluation._neighbours import TIE, rank_positives
from dml.evaluation._relevance import Relevance, SameCode
from dml.evaluation._scores import Scores

FPIRS = (1e-1, 1e-2, 1e-3)


@dataclass(frozen=True, eq=False)
class Identification:
    """What a threshold on the nearest neighbour's similarity does in an open set.

    Args:
        mated: Queries whose class is in the gallery.
        strangers: Queries whose class is not.
        hits: Float64, falling: similarity of the nearest, of mated queries whose nearest is right:
            nearer than all that are wrong, by more than 1e-6.
        alarms: Float64, falling: similarity of the nearest, of strangers.
    """

    mated: int
    strangers: int
    hits: np.ndarray = field(repr=False)
    alarms: np.ndarray = field(repr=False)

    def at_fpir(self, fpir):
        """Returns the share of mated queries that are missed, and the threshold.

        Args:
            fpir: The largest share of strangers for whom anything may be found, in [0, 1].

        Returns:
            (FNIR, threshold): missed are those whose nearest is wrong or not above the threshold,
            by more than 1e-6. Ties count against the model, as in `retrieval`.

        Raises:
            ValueError: `fpir` is out of its range.
        """
        if not 0 <= fpir <= 1:
            raise ValueError(f"fpir must be in [0, 1]; got {fpir}")
        allowed = int(fpir * self.strangers + 1e-9)
        threshold = self.alarms[allowed] if allowed < self.strangers else -np.inf
        found = np.searchsorted(-self.hits, -(threshold + TIE), side="left")  # above it, not at it
        return 1.0 - found / self.mated, float(threshold)

    def metrics(self, fpirs=FPIRS):
        """Returns {name: FNIR} at each false positive rate that can be measured."""
        return {f"FNIR@FPIR={f:g}": self.at_fpir(f)[0] for f in fpirs if f * self.strangers >= 1}


def identification(embeddings, labels, gallery, gallery_labels):
    """Measures open-set search: the nearest of a gallery, if it is near enough.

    Args:
        embeddings: Numbers (Q, D), of any length.
        labels: Q labels of any hashable type, in any array-like.
        gallery: Numbers (G, D).
        gallery_labels: G labels.

    Returns:
        An `Identification`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite, or all queries are mated,
            or none is.
    """
    queries = checked_embeddings(embeddings, "embeddings")
    gallery = checked_gallery(gallery, queries)
    query_codes, gallery_codes = shared_codes(
        checked_labels(labels, len(queries), "labels"),
        checked_labels(gallery_labels, len(gallery), "gallery_labels"),
        "labels",
        "gallery_labels",
    )
    mated = np.isin(query_codes, gallery_codes)
    if mated.all():
        raise ValueError(
            "all of the queries have their class in the gallery: an open set has strangers, too"
        )
    relevance = Relevance(SameCode(query_codes, gallery_codes))
    ranks = rank_positives(queries, gallery, relevance, Scores((1,)), shown=1)
    nearest = gallery[ranks.neighbours[:, 0]]
    # In float64: copies of an image are as similar, wherever they are.
    similarity = np.einsum("qd,qd->q", queries, nearest, dtype="float64")
    right = ranks.first == 1
    return Identification(
        int(mated.sum()),
        int((~mated).sum()),
        np.sort(similarity[right])[::-1],
        np.sort(similarity[~mated])[::-1],
    )
