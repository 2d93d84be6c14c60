"""Losses of cosines to proxies again, in NumPy float64 loops over images."""

import numpy as np


def cross_entropy(labels, cosines, scale, moved):
    """Returns the mean cross-entropy where `moved` replaces an image's own cosine."""
    total = 0.0
    for own, row in zip(labels, cosines, strict=True):
        logits = [scale * (moved(s) if c == own else s) for c, s in enumerate(row)]
        total -= logits[own] - np.log(sum(np.exp(v - max(logits)) for v in logits)) - max(logits)
    return total / len(labels)


def normalized_softmax(labels, cosines, temperature):
    return cross_entropy(labels, cosines, 1 / temperature, lambda s: s)


def cosface(labels, cosines, margin, scale):
    return cross_entropy(labels, cosines, scale, lambda s: s - margin)


def arcface(labels, cosines, margin, scale):
    margin = np.radians(margin)

    def moved(s):
        theta = np.arccos(s)
        return np.cos(theta + margin) if theta + margin <= np.pi else s - margin * np.sin(margin)

    return cross_entropy(labels, cosines, scale, moved)


def sub_center_arcface(labels, cosines, margin, scale, proxies_per_class):
    if proxies_per_class > 1:
        cosines = [[max(of_class) for of_class in row] for row in cosines]
    return arcface(labels, cosines, margin, scale)


def sphereface(labels, cosines, multiple, scale):
    def moved(s):
        theta = np.arccos(s)
        k = min(int(multiple * theta / np.pi), multiple - 1)
        return (-1) ** k * np.cos(multiple * theta) - 2 * k

    return cross_entropy(labels, cosines, scale, moved)


def center(labels, cosines):
    return sum((2 - 2 * row[own]) / 2 for own, row in zip(labels, cosines, strict=True)) / len(
        labels
    )


def p2s_grad(labels, cosines):
    total = 0.0
    for own, row in zip(labels, cosines, strict=True):
        total += sum((s - (c == own)) ** 2 for c, s in enumerate(row))
    return total / len(labels)
