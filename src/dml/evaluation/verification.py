"""Same or different: error rates over all pairs of a data set, none of which is kept."""

from dataclasses import dataclass, field

import numpy as np

from dml.evaluation._arrays import checked_embeddings, checked_labels, codes

STEPS = 1 << 20  # from a similarity of -1 to 1: 2e-6 wide, about what float32 can tell apart
BINS = STEPS + 1  # in whose middle -1, 0 and 1 are: many pairs may be just there
COLUMNS = 8192  # compared with some rows at once
BLOCK_BYTES = 96 << 20  # of similarities and their bins
FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)


@dataclass(frozen=True, eq=False)
class Verification:
    """How well a threshold on the similarity tells pairs of one class from pairs of two.

    Counts are exact for every threshold at the edge of a bin; edges are 2e-6 apart. A pair is
    accepted if its similarity is at least the threshold.

    Args:
        auc: Share of (genuine, impostor) pairs of pairs in which the genuine one is more similar,
            those in one bin by half. In [0, 1].
        eer: Where as many genuine pairs are refused as impostors accepted. In [0, 1].
        eer_threshold: The similarity there.
        genuine: Pairs of one class.
        impostors: Pairs of two classes.
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

    def roc(self):
        """Returns thresholds, false and true accept rates (M,), each point at which they change.

        From none accepted to all; the rates rise and the thresholds fall. 1 - the true accept
        rate over the false one is the DET curve.
        """
        used = np.flatnonzero(self.genuine_counts + self.impostor_counts)[::-1]
        accepted = (np.cumsum(c[used]) for c in (self.impostor_counts, self.genuine_counts))
        far, tar = (
            np.append(0.0, a / n)
            for a, n in zip(accepted, (self.impostors, self.genuine), strict=True)
        )
        return np.append(np.inf, edge(used)), far, tar

    def at_far(self, far):
        """Returns the true accept rate and the threshold at a false accept rate.

        Args:
            far: The largest false accept rate, in [0, 1].

        Returns:
            (rate, threshold) at the lowest threshold that keeps to it. Where there are fewer than
            1 / far impostors, it lets none in, and says little.

        Raises:
            ValueError: `far` is out of its range.
        """
        if not 0 <= far <= 1:
            raise ValueError(f"far must be in [0, 1]; got {far}")
        thresholds, fars, tars = self.roc()
        last = np.searchsorted(fars, far, side="right") - 1
        return float(tars[last]), float(thresholds[last])

    def metrics(self, fars=FARS):
        """Returns {name: value}: AUC, EER, and TAR at each false accept rate that can be measured.

        Args:
            fars: False accept rates; those below 1 / impostors are left out.
        """
        rates = {f"TAR@FAR={f:g}": self.at_far(f)[0] for f in fars if f * self.impostors >= 1}
        return {"AUC": self.auc, "EER": self.eer, **rates}


def verification(embeddings, labels, advance=None):
    """Measures same-or-different decisions over all pairs of embeddings, by cosine similarity.

    Takes O(N^2) time and memory for some rows at a time.

    Args:
        embeddings: Numbers (N, D), of any length; a row of zeros is as near to all others.
        labels: N labels of any hashable type, in any array-like.
        advance: Called with the number of rows done since its last call; None for silence.

    Returns:
        A `Verification`.

    Raises:
        ValueError: An array is of the wrong shape, a row is not finite (the message names it),
            or there is no pair of one class, or none of two.
    """
    vectors = checked_embeddings(embeddings, "embeddings")
    (classes,) = codes(checked_labels(labels, len(vectors), "labels"))
    sizes = np.bincount(classes).astype("int64")
    genuine = int((sizes * (sizes - 1) // 2).sum())
    impostors = len(vectors) * (len(vectors) - 1) // 2 - genuine
    if not genuine or not impostors:
        raise ValueError(f"no pair of {'two classes' if genuine else 'one class'} to verify")
    order = np.argsort(classes, kind="stable")  # a class's pairs lie beside the diagonal
    counts = pair_counts(vectors[order], classes[order], advance)
    return Verification(*rates(*counts), genuine, impostors, *counts)


def pair_counts(vectors, classes, advance):
    """Returns the genuine and impostor pairs in each bin; vectors are sorted by their class."""
    every, genuine = np.zeros((2, BINS), "int64")
    step = max(BLOCK_BYTES // (12 * min(len(vectors), COLUMNS)), 1)
    for start in range(0, len(vectors), step):
        rows = np.arange(start, min(start + step, len(vectors)))
        # In float64: copies of an image are as similar to others, wherever they are.
        some = vectors[rows].astype("float64")
        for first in range(start, len(vectors), COLUMNS):
            columns = np.arange(first, min(first + COLUMNS, len(vectors)))
            places = bins(some @ vectors[columns].T.astype("float64"))
            later = columns > rows[:, None]  # each pair once
            mine = places.ravel() if first > rows[-1] else places[later]
            every += np.bincount(mine, minlength=BINS)
            width = np.searchsorted(classes[columns], classes[rows[-1]], side="right")
            own = later[:, :width] & (classes[columns[:width]] == classes[rows, None])
            genuine += np.bincount(places[:, :width][own], minlength=BINS)
        if advance is not None:
            advance(len(rows))
    return genuine, every - genuine


def bins(similarities):
    """Returns the bin of each similarity. Changes the array."""
    similarities += 1
    similarities *= STEPS / 2
    return np.clip(np.rint(similarities, out=similarities), 0, STEPS).astype("int32")


def edge(bin):
    """Returns the lowest similarity of a bin."""
    return (np.asarray(bin) - 0.5) * (2.0 / STEPS) - 1.0


def rates(genuine, impostors):
    """Returns area under the curve, equal error rate and its threshold, from counts by bin."""
    below = np.cumsum(impostors) - impostors
    total = genuine.sum(dtype="float64") * impostors.sum(dtype="float64")
    auc = float((genuine * (below + 0.5 * impostors)).sum() / total)
    # By the threshold at each bin's edge, and above all of them.
    refused = np.append(0, np.cumsum(genuine)) / genuine.sum()
    accepted = 1.0 - np.append(below, impostors.sum()) / impostors.sum()
    at = max(int(np.argmax(refused >= accepted)), 1)  # at the first edge, all are accepted
    before, after = accepted[at - 1 : at + 1] - refused[at - 1 : at + 1]
    part = before / (before - after)
    eer = refused[at - 1] + part * (refused[at] - refused[at - 1])
    return auc, float(eer), float(edge(at - 1 + part))
