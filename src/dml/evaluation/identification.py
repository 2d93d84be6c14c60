"""Open-set identification: some of the queries are of classes that are not in the gallery."""

from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_within
from dml.errors import ArrayError
from dml.evaluation._arrays import (
    checked_embeddings,
    checked_gallery,
    checked_labels,
    shared_codes,
)
from dml.evaluation._neighbours import TIE, rank_positives
from dml.evaluation._relevance import Relevance, SameCode
from dml.evaluation._scores import Scores

_FPIRS = (1e-1, 1e-2, 1e-3)  # at which face recognition reports FNIR


@dataclass(frozen=True, eq=False)
class Identification:
    """Error rates of a threshold on the nearest neighbour's similarity.

    Args:
        mated: Number of queries whose class is in the gallery.
        non_mated: Number of queries whose class is not.
        hit_similarities: Float64, falling: similarity of the nearest gallery row, for the mated
            queries whose nearest row is of their class and nearer than all others by more than
            1e-6.
        non_mated_similarities: Float64 (non_mated,), falling: similarity of the nearest gallery
            row, for the non-mated queries.
    """

    mated: int
    non_mated: int
    hit_similarities: np.ndarray = field(repr=False)
    non_mated_similarities: np.ndarray = field(repr=False)

    def at_fpir(self, fpir: float) -> tuple[float, float]:
        """Returns the false negative identification rate and the threshold at a false positive one.

        Args:
            fpir: Largest false positive identification rate: share of the non-mated queries for
                which anything is found. In [0, 1].

        Returns:
            (FNIR, threshold). FNIR is the share of the mated queries whose nearest is wrong, or
            not above the threshold by more than 1e-6: ties count against the model, as in
            `retrieval`.

        Raises:
            OptionError: `fpir` is out of its range.
        """
        check_within(0, 1, fpir=fpir)
        allowed = int(fpir * self.non_mated + 1e-9)
        everything = allowed >= self.non_mated
        threshold = -np.inf if everything else self.non_mated_similarities[allowed]
        above = np.searchsorted(-self.hit_similarities, -(threshold + TIE), side="left")
        return float(1.0 - above / self.mated), float(threshold)

    def metrics(self, fpirs: Iterable[float] = _FPIRS) -> dict[str, float]:
        """Returns {name: FNIR} at each false positive rate that can be measured.

        Args:
            fpirs: False positive identification rates; those below 1 / `non_mated` are left out.
        """
        return {f"FNIR@FPIR={f:g}": self.at_fpir(f)[0] for f in fpirs if f * self.non_mated >= 1}


def identification(
    embeddings: ArrayLike, labels: Labels, gallery: ArrayLike, gallery_labels: Labels
) -> Identification:
    """Measures open-set search: the nearest of a gallery counts if it is above a threshold.

    FNIR at a given FPIR, as in the evaluations of face recognition by NIST (Grother et al., FRVT
    part 2).

    Args:
        embeddings: Numbers (Q, D), of any length.
        labels: Q labels of any hashable type, in any array-like.
        gallery: Numbers (G, D).
        gallery_labels: G labels.

    Returns:
        An `Identification`.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite, or either all queries are
            mated or none.

    Example:
        >>> gallery = [[1.0, 0.0], [0.0, 1.0]]
        >>> queries, labels = [[1, 0.1], [0.1, 1], [1, 1]], ["a", "b", "x"]
        >>> identification(queries, labels, gallery, ["a", "b"]).at_fpir(0.0)[0]
        0.0
    """
    queries = checked_embeddings(embeddings, "embeddings")
    references = checked_gallery(gallery, queries)
    query_codes, gallery_codes = shared_codes(
        checked_labels(labels, len(queries), "labels"),
        checked_labels(gallery_labels, len(references), "gallery_labels"),
        "labels",
        "gallery_labels",
    )
    mated = np.isin(query_codes, gallery_codes)
    if mated.all():
        raise ArrayError(
            "all of the queries have their class in the gallery; an open set has others, too"
        )
    relevance = Relevance(SameCode(query_codes, gallery_codes))
    ranks = rank_positives(queries, references, relevance, Scores((1,)), shown=1)
    nearest = references[ranks.neighbours[:, 0]]
    # In float64, copies of an image are equally similar, wherever they are.
    similarity = np.einsum("qd,qd->q", queries, nearest, dtype="float64")
    right = ranks.first == 1
    return Identification(
        int(mated.sum()),
        int((~mated).sum()),
        np.sort(similarity[right])[::-1],
        np.sort(similarity[~mated])[::-1],
    )
