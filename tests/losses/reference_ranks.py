"""Reference losses of ranks and histograms, in NumPy float64 loops."""

import numpy as np

from tests.losses.reference import rivals
from tests.losses.reference_pairs import all_pairs, mean


def sigmoid(x):
    return 1 / (1 + np.exp(-np.clip(x, -500, 500)))


def histogram_of(values, low, high, bins):
    """Returns the soft histogram (bins + 1) of some values."""
    step = (high - low) / bins
    centres = [low + step * b for b in range(bins + 1)]
    return np.array([sum(max(0, 1 - abs(v - c) / step) for v in values) for c in centres])


def fast_ap(labels, x, bins):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        if not own:
            continue
        positives = histogram_of([((x[a] - x[p]) ** 2).sum() for p in own], 0, 4, bins)
        every = positives + histogram_of([((x[a] - x[n]) ** 2).sum() for n in rest], 0, 4, bins)
        precision = 0.0
        for b in range(bins + 1):
            if every[: b + 1].sum() > 0:
                precision += positives[: b + 1].sum() * positives[b] / every[: b + 1].sum()
        losses.append(1 - precision / len(own))
    return mean(losses)


def histogram(labels, x, bins):
    positive, negative = all_pairs(labels)
    if not positive or not negative:
        return 0.0
    own = histogram_of([x[a] @ x[p] for a, p in positive], -1, 1, bins) / len(positive)
    rest = histogram_of([x[a] @ x[n] for a, n in negative], -1, 1, bins) / len(negative)
    return sum(rest[r] * own[: r + 1].sum() for r in range(bins + 1))


def smooth_ap(labels, x, temperature):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        shares = []
        for j in own:
            before = {
                k: sigmoid((x[a] @ x[k] - x[a] @ x[j]) / temperature) for k in own + rest if k != j
            }
            positives = 1 + sum(before[k] for k in own if k != j)
            shares.append(positives / (1 + sum(before.values())))
        if own:
            losses.append(1 - mean(shares))
    return mean(losses)


def recall_surrogate(labels, x, ks, rank_temperature, recall_temperature):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        if not own:
            continue
        ranks = [
            1
            + sum(
                sigmoid((x[a] @ x[k] - x[a] @ x[j]) / rank_temperature)
                for k in own + rest
                if k != j
            )
            for j in own
        ]
        recalls = []
        for k in ks:
            found = sum(sigmoid((k - r) / recall_temperature) for r in ranks)
            recalls.append(min(found, k) / min(k, len(own)))
        losses.append(1 - mean(recalls))
    return mean(losses)


def pnp(labels, x, variant, temperature, power, b):
    penalty = {
        "O": lambda r: r,
        "Iu": lambda r: (1 + r) * np.log(1 + r),
        "Ib": lambda r: (b * r - np.log(1 + b * r)) / b**2,
        "Ds": lambda r: np.log(1 + r),
        "Dq": lambda r: 1 - 1 / (1 + r) ** power,
    }[variant]
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        if own:
            before = [
                sum(sigmoid((x[a] @ x[n] - x[a] @ x[j]) / temperature) for n in rest) for j in own
            ]
            losses.append(mean([penalty(r) for r in before]))
    return mean(losses)


def roadmap(
    labels,
    x,
    temperature,
    slope,
    offset,
    calibration,
    positive_similarity,
    negative_similarity,
):
    def bound(gap):
        if gap <= 0:
            return sigmoid(gap / temperature)
        if gap <= offset:
            return sigmoid(gap / temperature) + 0.5
        return slope * (gap - offset) + sigmoid(offset / temperature) + 0.5

    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        shares = []
        for j in own:
            positives = 1 + sum(x[a] @ x[k] > x[a] @ x[j] for k in own if k != j)
            negatives = sum(bound(x[a] @ x[n] - x[a] @ x[j]) for n in rest)
            shares.append(positives / (positives + negatives))
        if own:
            losses.append(1 - mean(shares))
    positive, negative = all_pairs(labels)
    pull = mean([max(0, positive_similarity - x[a] @ x[p]) for a, p in positive])
    push = mean([max(0, x[a] @ x[n] - negative_similarity) for a, n in negative])
    return (1 - calibration) * mean(losses) + calibration * (pull + push)
