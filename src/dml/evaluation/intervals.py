"""Intervals of mean metrics over queries, for other classes of the same kind."""

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import as_array
from dml._options import check_interval
from dml.errors import ArrayError

_LEVEL = 0.95
_ROUNDING = 1e-9  # of a mean of shares, of the range


def class_interval(
    values: ArrayLike,
    codes: ArrayLike,
    lowest: float = 0.0,
    highest: float = 1.0,
    level: float = _LEVEL,
) -> np.ndarray:
    """Returns the interval of the mean of each column, for other classes of the same kind.

    Queries of a class resemble each other, so classes are the sample, not queries: the variance of
    the mean is that of the jackknife that leaves out one class at a time. The interval is Wilson's
    score interval at the effective sample size with this variance, with the t quantile of the
    effective number of classes (Kish: (sum n)^2 / sum n^2 for classes of n queries), following Korn
    and Graubard (Survey Methodology 1998). It stays within the range of the metric and is not
    symmetric near its ends. Where all classes are at one end of the range, each class counts as one
    observation; if they are equal anywhere else, the interval is empty; for a single class, it is
    the whole range. `make bench-intervals` simulates its coverage.

    Args:
        values: Floats (Q, M): M metrics of each query.
        codes: Integers (Q,): the class of each query.
        lowest: Lower end of the range of the metrics; -1 for differences of shares.
        highest: Upper end of the range.
        level: Confidence level, in (0, 1).

    Returns:
        Float64 (2, M): the lower and upper ends of the intervals.

    Raises:
        ArrayError: The arrays differ in length or are empty, or a value is outside of the range.
        OptionError: `level` is out of its range.

    Example:
        >>> class_interval([[1.0], [1.0], [0.0], [1.0]], [0, 0, 1, 2]).shape
        (2, 1)
    """
    from scipy.special import stdtrit

    rows, classes_of = as_array(values).astype("float64"), as_array(codes)
    if rows.ndim != 2 or classes_of.shape != rows.shape[:1] or not len(rows):
        raise ArrayError(
            "values must be (Q, M) and codes (Q,), of one query or more; "
            f"got {rows.shape} and {classes_of.shape}"
        )
    check_interval("(0, 1)", level=level)
    slack = _ROUNDING * (highest - lowest)
    outside = ~((rows >= lowest - slack) & (rows <= highest + slack))
    if outside.any():
        raise ArrayError(
            f"values must be in [{lowest:g}, {highest:g}], the range of the metrics; got "
            f"{rows[outside][0]:g}"
        )
    _, place = np.unique(classes_of, return_inverse=True)
    members = np.bincount(place).astype("float64")
    classes, count = len(members), len(place)
    shares = (rows.T - lowest) / (highest - lowest)  # (M, Q)
    if classes == 1:
        return np.stack([np.full(len(shares), end) for end in (lowest, highest)])
    sums = np.stack([np.bincount(place, share, minlength=classes) for share in shares])
    mean = sums.sum(axis=1) / count
    without = (sums.sum(axis=1, keepdims=True) - sums) / (count - members)
    variance = (classes - 1) / classes * np.square(without - mean[:, None]).sum(axis=1)
    alike = count**2 / np.square(members).sum()
    t = stdtrit(max(alike - 1, 1), (1 + level) / 2)
    # By the inverse of the sample size, which is 0 where all classes agree.
    spread = mean * (1 - mean)
    at_end = spread < 1e-12
    inverse = np.where(at_end, 1 / alike, variance / np.where(at_end, 1, spread)) * t**2
    centre = mean + inverse / 2
    half = np.sqrt(inverse * spread + np.square(inverse) / 4)
    ends = np.stack([centre - half, centre + half]) / (1 + inverse)
    return lowest + (highest - lowest) * np.clip(ends, 0.0, 1.0)
