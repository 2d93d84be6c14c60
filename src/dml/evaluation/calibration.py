"""Thresholds that keep a promise: a wanted precision or false accept rate, with confidence."""

from dataclasses import dataclass

import numpy as np

from dml.evaluation.neighbours import TIE


@dataclass(frozen=True)
class Threshold:
    """A similarity from which on to trust a decision.

    Args:
        similarity: Decide "same" from here on.
        rate: What was measured there: precision, or false accept rate.
        bound: Its confidence bound, which keeps the promise.
        count: Decisions that it rests on.
        coverage: Share of all decisions that are "same".
    """

    similarity: float
    rate: float
    bound: float
    count: int
    coverage: float


def threshold_for_precision(similarities, right, precision, confidence=0.95):
    """Returns the lowest threshold whose precision is sure to be as wanted.

    For search: of each query, the similarity of its nearest neighbour and whether that is right.
    The Clopper-Pearson lower bound of the precision, not the precision measured, is at least
    `precision`, at the returned threshold taken alone. Similarities that differ by 1e-6 or less
    are ties, which are decided alike.

    Args:
        similarities: Floats (N,).
        right: Booleans (N,).
        precision: Wanted, in (0, 1).
        confidence: One-sided, in (0, 1).

    Returns:
        A `Threshold`, or None if no threshold can promise it.

    Raises:
        ValueError: The arrays differ in length or are empty, or a share is out of its range.
    """
    similarities, right = checked(similarities, right)
    check_share(precision=precision, confidence=confidence)
    order = np.argsort(-similarities, kind="stable")
    falling, hits = similarities[order], np.cumsum(right[order])
    accepted = np.arange(1, len(falling) + 1)
    bounds = lower_bound(hits, accepted, confidence)
    # A threshold takes in all ties.
    whole = np.append(falling[:-1] - falling[1:] > TIE, True)
    good = np.flatnonzero(whole & (bounds >= precision))
    if not len(good):
        return None
    last = good[-1]
    return Threshold(
        float(falling[last]),
        float(hits[last] / accepted[last]),
        float(bounds[last]),
        int(accepted[last]),
        float(accepted[last] / len(falling)),
    )


def threshold_for_far(verification, far, confidence=0.95):
    """Returns the lowest threshold whose false accept rate is sure to be as wanted.

    The bound takes pairs as independent; pairs of one image are not, so leave a margin where it
    matters.

    Args:
        verification: A `dml.evaluation.Verification`.
        far: Wanted, in (0, 1).
        confidence: One-sided, in (0, 1).

    Returns:
        A `Threshold`, or None if there are too few impostors to promise it.

    Raises:
        ValueError: A share is out of its range.
    """
    check_share(far=far, confidence=confidence)
    thresholds, fars, tars = verification.roc()
    count = verification.impostors
    accepted = np.rint(fars * count).astype("int64")
    bounds = 1.0 - lower_bound(count - accepted, np.full(len(accepted), count), confidence)
    good = np.flatnonzero(bounds <= far)
    if not len(good) or not np.isfinite(thresholds[good[-1]]):
        return None
    last = good[-1]
    pairs = count + verification.genuine
    every = accepted[last] + round(tars[last] * verification.genuine)
    return Threshold(
        float(thresholds[last]), float(fars[last]), float(bounds[last]), count, float(every / pairs)
    )


def lower_bound(hits, count, confidence):
    """Returns the Clopper-Pearson lower bound (N,) of the share of `hits` in `count`, one-sided."""
    from scipy.special import betaincinv

    hits, count = np.asarray(hits, "float64"), np.asarray(count, "float64")
    some = np.maximum(hits, 1.0)
    return np.where(hits > 0, betaincinv(some, count - some + 1.0, 1.0 - confidence), 0.0)


def checked(similarities, right):
    """Returns float64 and boolean arrays of one length.

    Raises:
        ValueError: They are not, or are empty, or a similarity is not finite.
    """
    similarities, right = np.asarray(similarities, "float64"), np.asarray(right, bool)
    if similarities.shape != right.shape or similarities.ndim != 1 or not len(right):
        raise ValueError(
            "similarities and right must be as many, at least one; "
            f"got {similarities.shape} and {right.shape}"
        )
    if not np.isfinite(similarities).all():
        row = int(np.argmin(np.isfinite(similarities)))
        raise ValueError(f"similarities: row {row} is not finite")
    return similarities, right


def check_share(**shares):
    """Raises ValueError for the first share outside (0, 1)."""
    for name, value in shares.items():
        if not 0 < value < 1:
            raise ValueError(f"{name} must be in (0, 1); got {value}")
