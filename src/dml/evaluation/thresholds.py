"""Thresholds calibrated to a precision or a false accept rate, with confidence."""

import dataclasses
import math
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import as_array
from dml.errors import ArrayError, DataError, OptionError
from dml.evaluation._neighbours import TIE
from dml.evaluation.verification import Verification


class ThresholdKind(StrEnum):
    """The quantity that a calibrated threshold guarantees."""

    PRECISION = "precision"  # the share of nearest neighbours that are right
    FAR = "far"  # the share of pairs of two classes that are accepted


@dataclass(frozen=True)
class CalibratedThreshold:
    """A similarity above which the decision "same class" keeps a promise.

    Args:
        kind: The kind of promise.
        similarity: Lowest cosine similarity for the decision "same class"; in [-1, 1].
        target: The precision or false accept rate that is promised, in (0, 1).
        rate: The precision or false accept rate on the validation split, in [0, 1].
        bound: Confidence bound of `rate`, which keeps the promise; in [0, 1].
        count: Number of decisions that `rate` is a share of; positive.
        coverage: Share of all decisions that are "same class", in [0, 1].
        test_rate: The same rate on the test split; None if it was not measured.
        test_coverage: Share of the test queries whose nearest neighbour is accepted; None if it was
            not measured.

    Raises:
        OptionError: A field is out of its range.
    """

    kind: ThresholdKind
    similarity: float
    target: float
    rate: float
    bound: float
    count: int
    coverage: float
    test_rate: float | None = None
    test_coverage: float | None = None

    def __post_init__(self):
        if self.kind not in list(ThresholdKind):
            raise OptionError("kind", f"must be {' or '.join(ThresholdKind)}; got {self.kind!r}")
        object.__setattr__(self, "kind", ThresholdKind(self.kind))
        _check_number("similarity", self.similarity, -1)
        _check_share(target=self.target)
        for name in ("rate", "bound", "coverage"):
            _check_number(name, getattr(self, name), 0)
        for name in ("test_rate", "test_coverage"):
            if getattr(self, name) is not None:
                _check_number(name, getattr(self, name), 0)
        if type(self.count) is not int or self.count < 1:
            raise OptionError("count", f"must be a positive integer; got {self.count!r}")

    @property
    def promise(self) -> str:
        """What it promises, in words."""
        if self.kind is ThresholdKind.PRECISION:
            return f"at least {100 * self.target:g} % right"
        return f"at most {100 * self.target:g} % of other pairs accepted"

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "CalibratedThreshold":
        """Returns a threshold as `to_json` wrote it.

        Raises:
            OptionError: A field is missing, unknown or out of its range.
        """
        if not isinstance(value, dict):
            raise OptionError("threshold", f"must be an object of its fields; got {value!r}")
        for field in dataclasses.fields(cls):
            if field.name not in value and field.default is dataclasses.MISSING:
                raise OptionError(field.name, "is missing")
        for name in value:
            if name not in cls.__dataclass_fields__:
                raise OptionError(str(name), "is not a field of a threshold")
        return cls(**value)


def thresholds_from_json(
    value: object, path: str | os.PathLike[str]
) -> tuple[CalibratedThreshold, ...]:
    """Returns the thresholds in a file.

    Args:
        value: The contents of the file: a list of thresholds as `CalibratedThreshold.to_json`
            returns them.
        path: The file, for messages.

    Raises:
        DataError: `value` is not such a list; the message names the threshold and its field.
    """
    if not isinstance(value, list):
        raise DataError(path, f"damaged: thresholds must be a list; got {value!r}")
    found = []
    for number, one in enumerate(value):
        try:
            found.append(CalibratedThreshold.from_json(one))
        except OptionError as error:
            raise DataError(path, f"damaged: thresholds[{number}]: {error}") from None
    return tuple(found)


def threshold_for_precision(
    similarities: ArrayLike, right: ArrayLike, precision: float, confidence: float = 0.95
) -> CalibratedThreshold | None:
    """Returns the lowest threshold that is found to have a precision with confidence.

    For search: takes the similarity of each query's nearest neighbour and whether it is right.
    The Clopper-Pearson lower bound of the precision at the threshold (Biometrika 1934), not the
    precision itself, is at least `precision`. So that the confidence is that of the threshold that
    is chosen, thresholds are tested one after another, from strict to low, until the first that
    fails (Angelopoulos et al., Learn then Test, 2021). There are several starts, of which each
    accepts twice as many as the one before and which share the error, because a few wrong ones
    among the nearest would end a single sequence. Similarities at most 1e-6 below another are ties,
    which get the same decision: the threshold is that much below them.

    Args:
        similarities: Cosine similarities, floats (N,) in [-1, 1].
        right: Booleans (N,).
        precision: The precision to promise, in (0, 1).
        confidence: Confidence that the threshold has this precision, in (0, 1).

    Returns:
        A `CalibratedThreshold`, or None if no threshold is found to have that precision.

    Raises:
        ArrayError: The arrays differ in length or are empty, a similarity is out of its range, or
            `right` holds others than booleans.
        OptionError: `precision` or `confidence` is out of its range.

    Example:
        >>> similarities = [0.9] * 30 + [0.5] * 10
        >>> threshold = threshold_for_precision(similarities, [True] * 30 + [False] * 10, 0.9)
        >>> round(threshold.similarity, 3), threshold.promise
        (0.9, 'at least 90 % right')
    """
    similarities, right = _checked(similarities, right)
    _check_share(precision=precision, confidence=confidence)
    order = np.argsort(-similarities, kind="stable")
    falling, hits = similarities[order], np.cumsum(right[order])
    thresholds, accepted = _between_ties(falling)
    hits = hits[accepted - 1]
    starts, share = _starts(len(falling), precision, 1 - confidence)
    bounds = _lower_bound(hits, accepted, 1 - share)
    failed = np.append(np.flatnonzero(bounds < precision), len(bounds))
    begun = np.searchsorted(accepted, starts)
    ended = failed[np.searchsorted(failed, begun)]
    passed = ended[ended > begun]
    if not len(passed):
        return None
    last = passed.max() - 1
    return CalibratedThreshold(
        kind=ThresholdKind.PRECISION,
        similarity=float(np.clip(thresholds[last], -1, 1)),
        target=float(precision),
        rate=float(hits[last] / accepted[last]),
        bound=float(bounds[last]),
        count=int(accepted[last]),
        coverage=float(accepted[last] / len(falling)),
    )


def threshold_for_far(
    verification: Verification, far: float, confidence: float = 0.95
) -> CalibratedThreshold | None:
    """Returns the lowest threshold that has a false accept rate with confidence.

    The Clopper-Pearson upper bound treats pairs as independent, which pairs with an image in common
    are not: choose a lower `far` where it matters.

    Args:
        verification: The counts of all pairs, as `dml.evaluation.verification` returns them.
        far: The false accept rate to promise, in (0, 1).
        confidence: Confidence level of the one-sided bound, in (0, 1).

    Returns:
        A `CalibratedThreshold`, or None if there are too few impostors.

    Raises:
        OptionError: `far` or `confidence` is out of its range.

    Example:
        >>> from dml.evaluation import verification
        >>> x = [[1.0, 0.0]] * 10 + [[0.0, 1.0]] * 10
        >>> threshold = threshold_for_far(verification(x, [0] * 10 + [1] * 10), 0.05)
        >>> round(threshold.similarity, 3), threshold.promise
        (1.0, 'at most 5 % of other pairs accepted')
    """
    _check_share(far=far, confidence=confidence)
    thresholds, fars, tars = verification.roc()
    count = verification.impostors
    accepted = np.rint(fars * count).astype("int64")
    bounds = 1.0 - _lower_bound(count - accepted, np.full(len(accepted), count), confidence)
    good = np.flatnonzero(bounds <= far)
    if not len(good) or not np.isfinite(thresholds[good[-1]]):
        return None
    last = good[-1]
    pairs = count + verification.genuine
    every = accepted[last] + np.rint(tars[last] * verification.genuine)
    return CalibratedThreshold(
        kind=ThresholdKind.FAR,
        similarity=float(np.clip(thresholds[last], -1, 1)),
        target=float(far),
        rate=float(fars[last]),
        bound=float(bounds[last]),
        count=int(count),
        coverage=float(every / pairs),
    )


def _starts(count, precision, error):
    """Returns how many are accepted at the start of each sequence of tests, and a test's error.

    The first accepts as many as suffice if all are right, each other twice as many as the last.

    Args:
        count: Number of decisions.
        precision: The precision to promise.
        error: The probability of a false promise.
    """
    fewest = math.log(error) / math.log(precision)
    sequences = max(1, math.floor(math.log2(count / fewest)) + 1)
    share = error / sequences
    starts = math.ceil(math.log(share) / math.log(precision)) * 2 ** np.arange(sequences)
    return starts[starts <= count], share


def _between_ties(falling):
    """Returns thresholds (M,) between groups of ties, and how many similarities (M,) reach each.

    A group is the nearest that is left and all that are at most `TIE` below it. So a chain of
    similarities, each a tie of the next, is several groups.

    Args:
        falling: Float64 (N,), falling.
    """
    floors = falling - TIE
    ends = np.searchsorted(-falling, -floors, side="right")
    firsts, place = [], 0
    while place < len(falling):
        firsts.append(place)
        place = int(ends[place])
    return floors[firsts], ends[firsts]


def _lower_bound(hits, count, confidence):
    """Returns the Clopper-Pearson lower bound (N,) of the share of `hits` in `count`, one-sided."""
    from scipy.special import betaincinv

    hits, count = np.asarray(hits, "float64"), np.asarray(count, "float64")
    some = np.maximum(hits, 1.0)
    return np.where(hits > 0, betaincinv(some, count - some + 1.0, 1.0 - confidence), 0.0)


def _checked(similarities, right):
    """Returns float64 similarities in [-1, 1] and booleans, of one length.

    Raises:
        ArrayError: They are not, or are empty, or a similarity is out of its range.
    """
    similarities, right = as_array(similarities), as_array(right)
    if similarities.dtype.kind not in "fiu":
        raise ArrayError(f"similarities must be numbers; got {similarities.dtype}")
    if right.dtype.kind not in "biuf" or not np.isin(right, (0, 1)).all():
        raise ArrayError(f"right must be booleans; got {right.dtype}")
    similarities, right = similarities.astype("float64"), right.astype(bool)
    if similarities.shape != right.shape or similarities.ndim != 1 or not len(right):
        raise ArrayError(
            "similarities and right must have the same length, at least 1; "
            f"got {similarities.shape} and {right.shape}"
        )
    # Products of float32 vectors may exceed 1 by rounding errors.
    wrong = ~(np.abs(similarities) <= 1 + 1e-4)
    if wrong.any():
        row = int(np.argmax(wrong))
        raise ArrayError(
            f"similarities must be in [-1, 1], cosines; row {row} is {similarities[row]}"
        )
    return np.clip(similarities, -1, 1), right


def _is_number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _check_number(name, value, lowest):
    if not _is_number(value) or not lowest <= value <= 1:
        raise OptionError(name, f"must be in [{lowest}, 1]; got {value!r}")


def _check_share(**shares):
    """Raises OptionError for the first share outside (0, 1)."""
    for name, value in shares.items():
        if not _is_number(value) or not 0 < value < 1:
            raise OptionError(name, f"must be in (0, 1); got {value!r}")
