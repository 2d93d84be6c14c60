"""Verification: error rates of same-or-different decisions over all pairs of a data set."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels
from dml._options import check_within
from dml.errors import ArrayError
from dml.evaluation._arrays import checked_embeddings, checked_labels, codes

_STEPS = 1 << 20  # from a similarity of -1 to 1: 2e-6 wide, about the precision of float32
_BINS = _STEPS + 1  # with -1, 0 and 1 at the centres of bins, where many pairs may be
_COLUMNS = 8192  # compared with a block of rows at once
_BLOCK_BYTES = 96 << 20  # of a block of similarities and their bins
_FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)  # as reported for face verification


@dataclass(frozen=True, eq=False)
class Verification:
    """Error rates of a threshold on the similarity that separates genuine pairs from impostors.

    Counts are exact for every threshold at the edge of a bin; edges are 2e-6 apart. A pair is
    accepted if its similarity is at least the threshold.

    Args:
        auc: Area under the ROC curve: probability that a genuine pair is more similar than an
            impostor, pairs in the same bin counted by half. In [0, 1].
        eer: Equal error rate, where the false reject rate equals the false accept rate. In [0, 1].
        eer_threshold: The threshold at the equal error rate.
        genuine: Number of pairs of one class.
        impostors: Number of pairs of two classes.
        genuine_counts: Int64 (BINS,): genuine pairs in each bin, from -1 to 1.
        impostor_counts: Int64 (BINS,).
    """

    auc: float
    eer: float
    eer_threshold: float
    genuine: int
    impostors: int
    genuine_counts: np.ndarray = field(repr=False)
    impostor_counts: np.ndarray = field(repr=False)

    def roc(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns thresholds, false accept rates and true accept rates (M,) where they change.

        From no pair accepted to all: the rates rise and the thresholds fall. The DET curve is 1 -
        the true accept rate over the false accept rate.
        """
        used = np.flatnonzero(self.genuine_counts + self.impostor_counts)[::-1]
        accepted = (np.cumsum(c[used]) for c in (self.impostor_counts, self.genuine_counts))
        far, tar = (
            np.append(0.0, a / n)
            for a, n in zip(accepted, (self.impostors, self.genuine), strict=True)
        )
        return np.append(np.inf, _edge(used)), far, tar

    def at_far(self, far: float) -> tuple[float, float]:
        """Returns the true accept rate and the threshold at a false accept rate.

        Args:
            far: Largest false accept rate, in [0, 1].

        Returns:
            (rate, threshold) at the lowest threshold with at most this false accept rate. With
            fewer than 1 / far impostors it accepts none of them, and means little.

        Raises:
            OptionError: `far` is out of its range.
        """
        check_within(0, 1, far=far)
        thresholds, fars, tars = self.roc()
        last = np.searchsorted(fars, far, side="right") - 1
        return float(tars[last]), float(thresholds[last])

    def metrics(self, fars: Iterable[float] = _FARS) -> dict[str, float]:
        """Returns {name: value}: AUC, EER, and TAR at each false accept rate that can be measured.

        Args:
            fars: False accept rates; those below 1 / impostors are left out.
        """
        rates = {f"TAR@FAR={f:g}": self.at_far(f)[0] for f in fars if f * self.impostors >= 1}
        return {"AUC": self.auc, "EER": self.eer, **rates}


def verification(
    embeddings: ArrayLike, labels: Labels, advance: Callable[[int], None] | None = None
) -> Verification:
    """Measures same-or-different decisions over all pairs of embeddings, by cosine similarity.

    Takes O(N^2) time; memory does not grow with the number of pairs.

    Args:
        embeddings: Numbers (N, D), of any length; a row of zeros is equidistant from all others.
        labels: N labels of any hashable type, in any array-like.
        advance: Called with the number of rows done since its last call; None for no calls.

    Returns:
        A `Verification`.

    Raises:
        ArrayError: An array is of the wrong shape, a row is not finite (the message names it),
            or there is no pair of one class, or none of two.

    Example:
        >>> x = [[1.0, 0.0], [1.0, 0.1], [0.0, 1.0], [0.1, 1.0]]
        >>> found = verification(x, ["cat", "cat", "dog", "dog"])
        >>> found.auc, found.genuine, found.impostors
        (1.0, 2, 4)
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    sizes = np.bincount(classes).astype("int64")
    genuine = int((sizes * (sizes - 1) // 2).sum())
    impostors = len(vectors) * (len(vectors) - 1) // 2 - genuine
    if not genuine or not impostors:
        raise ArrayError(f"no pair of {'two classes' if genuine else 'one class'} to verify")
    order = np.argsort(classes, kind="stable")  # a class's pairs lie next to the diagonal
    counts = _pair_counts(vectors[order], classes[order], advance)
    return Verification(*_rates(*counts), genuine, impostors, *counts)


def _pair_counts(vectors, classes, advance):
    """Returns the genuine and impostor pairs in each bin; vectors are sorted by their class."""
    every, genuine = np.zeros((2, _BINS), "int64")
    step = max(_BLOCK_BYTES // (12 * min(len(vectors), _COLUMNS)), 1)
    for start in range(0, len(vectors), step):
        rows = np.arange(start, min(start + step, len(vectors)))
        # In float64, copies of an image are equally similar to others, wherever they are.
        some = vectors[rows].astype("float64")
        for first in range(start, len(vectors), _COLUMNS):
            columns = np.arange(first, min(first + _COLUMNS, len(vectors)))
            places = _bins(some @ vectors[columns].T.astype("float64"))
            later = columns > rows[:, None]  # each pair once
            mine = places.ravel() if first > rows[-1] else places[later]
            every += np.bincount(mine, minlength=_BINS)
            width = np.searchsorted(classes[columns], classes[rows[-1]], side="right")
            own = later[:, :width] & (classes[columns[:width]] == classes[rows, None])
            genuine += np.bincount(places[:, :width][own], minlength=_BINS)
        if advance is not None:
            advance(len(rows))
    return genuine, every - genuine


def _bins(similarities):
    """Returns the bin of each similarity. Overwrites the array."""
    similarities += 1
    similarities *= _STEPS / 2
    return np.clip(np.rint(similarities, out=similarities), 0, _STEPS).astype("int32")


def _edge(bin):
    """Returns the lowest similarity of a bin."""
    return (np.asarray(bin) - 0.5) * (2.0 / _STEPS) - 1.0


def _rates(genuine, impostors):
    """Returns area under the curve, equal error rate and its threshold, from counts by bin."""
    below = np.cumsum(impostors) - impostors
    total = genuine.sum(dtype="float64") * impostors.sum(dtype="float64")
    auc = float((genuine * (below + 0.5 * impostors)).sum() / total)
    # At the edge of each bin, and above all of them.
    refused = np.append(0, np.cumsum(genuine)) / genuine.sum()
    accepted = 1.0 - np.append(below, impostors.sum()) / impostors.sum()
    at = max(int(np.argmax(refused >= accepted)), 1)  # at the first edge, all are accepted
    before, after = accepted[at - 1 : at + 1] - refused[at - 1 : at + 1]
    part = before / (before - after)
    eer = refused[at - 1] + part * (refused[at] - refused[at - 1])
    return auc, float(eer), float(_edge(at - 1 + part))
