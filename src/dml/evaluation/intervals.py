"""Intervals of mean figures over queries, for classes drawn anew."""

import numpy as np

LEVEL = 0.95


def class_interval(values, codes, lowest=0.0, highest=1.0, level=LEVEL):
    """Returns the interval of the mean of each column, for other classes of the same kind.

    Queries of a class resemble each other, so that classes count, not queries: the variance of the
    mean is that of the jackknife which leaves out one class at a time. The interval is Wilson's
    score interval at the sample size that has this variance, with Student's t of as many classes
    as weigh alike (Kish: of their numbers of queries n, (sum n)^2 / sum n^2), after Korn and
    Graubard (1998). It stays within the range of the figures, and is not symmetric near its ends.
    Where all classes are at one end of the range, each class counts as one observation; where
    they are equal anywhere else, the interval is empty; one class says nothing. `make
    bench-intervals` simulates how often it holds the truth.

    Args:
        values: Floats (Q, M): M figures of each query.
        codes: Integers (Q,): the class of each query.
        lowest: The least that a figure can be; -1 of differences of shares.
        highest: The most that it can be.
        level: Of the interval, in (0, 1).

    Returns:
        Float64 (2, M): the lower and upper ends.
    """
    from scipy.special import stdtrit

    _, codes = np.unique(codes, return_inverse=True)
    members = np.bincount(codes).astype("float64")
    classes, count = len(members), len(codes)
    shares = (np.asarray(values, "float64").T - lowest) / (highest - lowest)  # (M, Q)
    if classes == 1:
        return np.stack([np.full(len(shares), end) for end in (lowest, highest)])
    sums = np.stack([np.bincount(codes, share, minlength=classes) for share in shares])
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
