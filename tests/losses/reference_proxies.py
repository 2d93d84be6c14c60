"""Reference losses of cosines to proxies, in NumPy float64 loops over images."""

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


def with_own(labels, x, scale, moved, others=lambda s, row_moved, beside: s):
    """Returns the mean cross-entropy where `moved` makes an image's own logit, of (s, beside)."""
    total = 0.0
    for own, row in zip(labels, x, strict=True):
        *cosines, beside = row
        own_moved = moved(cosines[own], beside)
        logits = [
            scale * (own_moved if c == own else others(s, own_moved, beside))
            for c, s in enumerate(cosines)
        ]
        total += np.log(sum(np.exp(v - max(logits)) for v in logits)) + max(logits) - logits[own]
    return total / len(labels)


def arc(s, margin):
    theta = np.arccos(s)
    return np.cos(theta + margin) if theta + margin <= np.pi else s - margin * np.sin(margin)


def magface(labels, x, smallest_margin, largest_margin, shortest, longest, scale, length_weight):
    def margin(length):
        share = (np.clip(length, shortest, longest) - shortest) / (longest - shortest)
        return np.radians(smallest_margin + share * (largest_margin - smallest_margin))

    lengths = np.clip(x[:, -1], shortest, longest)
    penalty = np.mean([1 / a + a / longest**2 for a in lengths])
    loss = with_own(labels, x, scale, lambda s, a: arc(s, margin(a)))
    return loss + length_weight * penalty


def adaface(labels, x, margin, scale):
    def moved(s, quality):
        theta = np.clip(np.arccos(s) - margin * quality, 0, np.pi)
        return np.cos(theta) - margin * (1 + quality)

    return with_own(labels, x, scale, moved)


def elasticface(labels, x, margin, deviation, scale, form):
    def moved(s, drawn):
        m = margin + deviation * drawn
        return arc(s, m) if form == "arc" else s - m

    return with_own(labels, x, scale, moved)


def curricularface(labels, x, margin, scale):
    return with_own(
        labels,
        x,
        scale,
        lambda s, _: arc(s, np.radians(margin)),
        lambda s, own_moved, t: s * (t + s) if s > own_moved else s,
    )


def large_margin_softmax(labels, x, multiple, scale):
    total = 0.0
    for own, row in zip(labels, x, strict=True):
        logits = []
        for c, (s, length) in enumerate(row):
            theta = np.arccos(s)
            k = min(int(multiple * theta / np.pi), multiple - 1)
            psi = (-1) ** k * np.cos(multiple * theta) - 2 * k
            logits.append(scale * length * (psi if c == own else s))
        total += np.log(sum(np.exp(v - max(logits)) for v in logits)) + max(logits) - logits[own]
    return total / len(labels)


def manifold(labels, x, alpha, margin, context):
    costs = []
    for row, own in zip(x, labels, strict=True):
        rest = [np.exp(f - row[own] + margin) for k, f in enumerate(row) if k != own]
        costs.append(np.log(1 + sum(rest)))
    return np.mean(costs)
