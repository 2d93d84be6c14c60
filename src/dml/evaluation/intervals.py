"""Bootstrap intervals over queries, whole classes at a time."""

import numpy as np

CHUNK = 100  # resamples drawn at once


def bootstrap(values, codes, repeats=1000, seed=0, level=0.95):
    """Returns the interval of the mean of each column when the classes are drawn again.

    Queries of a class resemble each other, so that classes are resampled, not queries: else the
    intervals would be too narrow.

    Args:
        values: Floats (Q, M): M figures of each query.
        codes: Integers (Q,): the class of each query.
        repeats: Resamples; positive.
        seed: Of the resampling.
        level: Of the interval, in (0, 1).

    Returns:
        Float64 (2, M): the lower and upper ends.
    """
    _, codes = np.unique(codes, return_inverse=True)
    classes = codes.max() + 1
    members = np.bincount(codes, minlength=classes)
    sums = np.stack([np.bincount(codes, v, minlength=classes) for v in np.asarray(values).T], 1)
    generator = np.random.Generator(np.random.PCG64(seed))
    means = []
    for start in range(0, repeats, CHUNK):
        drawn = min(CHUNK, repeats - start)
        weights = generator.multinomial(classes, np.full(classes, 1 / classes), size=drawn)
        means.append((weights @ sums) / (weights @ members)[:, None])
    tail = 50 * (1 - level)
    return np.percentile(np.concatenate(means), [tail, 100 - tail], axis=0)
