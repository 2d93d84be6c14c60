"""Reference losses, in NumPy float64 loops over images and pairs as in the papers."""

from itertools import product

import numpy as np


def proxy_anchor(labels, cosines, margin, scale):
    batch, classes = cosines.shape
    pull, push, present = 0.0, 0.0, 0
    for c in range(classes):
        own = [cosines[i, c] for i in range(batch) if labels[i] == c]
        others = [cosines[i, c] for i in range(batch) if labels[i] != c]
        present += bool(own)
        pull += np.log(1 + sum(np.exp(-scale * (s - margin)) for s in own))
        push += np.log(1 + sum(np.exp(scale * (s + margin)) for s in others))
    return pull / present + push / classes


def proxy_nca(labels, cosines, scale, form, positive_in_denominator, label_smoothing):
    batch, classes = cosines.shape
    total = 0.0
    for i in range(batch):
        if form == "squared_distance":
            exponents = [-scale * (2 - 2 * s) for s in cosines[i]]
        else:
            exponents = [scale * s for s in cosines[i]]
        kept = [c for c in range(classes) if positive_in_denominator or c != labels[i]]
        denominator = sum(np.exp(exponents[c]) for c in kept)
        for c in range(classes):
            share = 1 - label_smoothing if c == labels[i] else label_smoothing / (classes - 1)
            total -= share * np.log(np.exp(exponents[c]) / denominator)
    return total / batch


def proxy_nca_pp(labels, cosines, temperature):
    total = 0.0
    for own, row in zip(labels, cosines, strict=True):
        nearness = [np.exp(-(2 - 2 * s) / temperature) for s in row]
        total -= np.log(nearness[own] / sum(nearness))
    return total / len(labels)


def soft_triple(labels, cosines, scale, temperature, margin, proxies_per_class, centre_weight):
    batch, classes = cosines.shape[:2]
    cosines = cosines.reshape(batch, classes, proxies_per_class)
    total = 0.0
    for i in range(batch):
        exponentials = []
        for c in range(classes):
            weights = [np.exp(s / temperature) for s in cosines[i, c]]
            score = sum(w * s for w, s in zip(weights, cosines[i, c], strict=True)) / sum(weights)
            exponentials.append(np.exp(scale * (score - margin * (c == labels[i]))))
        total -= np.log(exponentials[labels[i]] / sum(exponentials))
    return total / batch


def soft_triple_penalty(proxies, centre_weight):
    classes, centres, _ = proxies.shape
    total = 0.0
    for c in range(classes):
        for k in range(centres):
            for t in range(k + 1, centres):
                total += np.sqrt(2 + 1e-5 - 2 * proxies[c, k] @ proxies[c, t])
    return centre_weight * total / (classes * centres * (centres - 1))


def rivals(labels, anchor):
    """Returns the indices of an anchor's positives and negatives."""
    others = [j for j in range(len(labels)) if j != anchor]
    positives = [j for j in others if labels[j] == labels[anchor]]
    return positives, [j for j in others if labels[j] != labels[anchor]]


def multi_similarity(labels, embeddings, positive_scale, negative_scale, base, epsilon):
    total = 0.0
    for a in range(len(labels)):
        positives, negatives = rivals(labels, a)
        if not positives or not negatives:
            continue
        s = {j: embeddings[a] @ embeddings[j] for j in positives + negatives}
        farthest, nearest = min(s[j] for j in positives), max(s[j] for j in negatives)
        kept_positives = [s[j] for j in positives if s[j] - epsilon < nearest]
        kept_negatives = [s[j] for j in negatives if s[j] + epsilon > farthest]
        pull = sum(np.exp(-positive_scale * (v - base)) for v in kept_positives)
        push = sum(np.exp(negative_scale * (v - base)) for v in kept_negatives)
        total += np.log(1 + pull) / positive_scale + np.log(1 + push) / negative_scale
    return total / len(labels)


def selected_triplets(labels, d, margin, mining):
    """Returns the list of (anchor, positive, negative, share) of one batch."""
    triplets = []
    for a in range(len(labels)):
        positives, negatives = rivals(labels, a)
        if mining == "hard" and positives and negatives:
            farthest = max(d[a, p] for p in positives)
            nearest = min(d[a, n] for n in negatives)
            tied = [
                (p, n)
                for p, n in product(positives, negatives)
                if abs(d[a, p] - farthest) < 1e-9 and abs(d[a, n] - nearest) < 1e-9
            ]
            triplets += [(a, p, n, 1 / len(tied)) for p, n in tied]
        elif mining != "hard":
            for p, n in product(positives, negatives):
                hinge = d[a, p] + margin > d[a, n]
                farther = d[a, n] > d[a, p] + 1e-9
                if hinge and (farther or mining == "all"):
                    triplets.append((a, p, n, 1.0))
    return triplets


def distance_matrix(embeddings, distance):
    difference = embeddings[:, None] - embeddings[None]
    squared = (difference**2).sum(-1)
    return squared if distance == "squared" else np.sqrt(squared)


def triplet(labels, embeddings, margin, mining, distance, soft_margin):
    d = distance_matrix(embeddings, distance)
    triplets = selected_triplets(labels, d, margin, mining)
    total = 0.0
    for a, p, n, share in triplets:
        gap = d[a, p] - d[a, n]
        total += share * (np.log(1 + np.exp(gap)) if soft_margin else max(0.0, gap + margin))
    return total / max(sum(share for *_, share in triplets), 1)


def adapted_triplet(labels, embeddings, weight, kernel, bandwidth, **options):
    d = distance_matrix(embeddings, options["distance"])
    counts = np.zeros(len(labels))
    for _, p, n, share in selected_triplets(labels, d, options["margin"], options["mining"]):
        counts[[p, n]] += share
    discrepancies = []
    for c in np.unique(labels):
        own = np.flatnonzero(labels == c)
        if counts[own].sum() == 0:
            continue
        if kernel == "linear":
            selected = sum(counts[i] * embeddings[i] for i in own) / counts[own].sum()
            discrepancies.append(((embeddings[own].mean(0) - selected) ** 2).sum())
        else:
            total = 0.0
            for i, j in product(own, own):
                likeness = np.exp(
                    -((embeddings[i] - embeddings[j]) ** 2).sum() / (2 * bandwidth**2)
                )
                left = counts[i] / counts[own].sum() - 1 / len(own)
                right = counts[j] / counts[own].sum() - 1 / len(own)
                total += left * right * likeness
            discrepancies.append(total)
    bias = sum(discrepancies) / max(len(discrepancies), 1)
    return triplet(labels, embeddings, **options) + weight * bias
