"""Reference pair losses, in NumPy float64 loops over anchors and pairs as in the papers.

`constants_at`: what weights that carry no gradient are taken from, in place of the embeddings.
"""

import numpy as np

from tests.losses.reference import rivals


def distance(a, b, kind):
    """Returns the distance of an anchor and another embedding."""
    match kind:
        case "cosine":
            return 1 - a @ b
        case "dot":
            return -a @ b
        case "squared":
            return ((a - b) ** 2).sum()
        case "euclidean":
            return np.sqrt(((a - b) ** 2).sum())
        case "snr":
            return (a - b).var() / a.var()
        case "poincare":
            return poincare(a, b, 1.0, 2.3)


def poincare(a, b, curvature, largest_length):
    def into_ball(x):
        length = np.linalg.norm(x)
        radius = np.sqrt(curvature)
        return np.tanh(radius * min(length, largest_length)) * x / (radius * length)

    def mobius_sum(u, v):
        uv, uu, vv, c = u @ v, u @ u, v @ v, curvature
        top = (1 + 2 * c * uv + c * vv) * u + (1 - c * uu) * v
        return top / (1 + 2 * c * uv + c**2 * uu * vv)

    gap = np.linalg.norm(mobius_sum(-into_ball(a), into_ball(b)))
    return 2 / np.sqrt(curvature) * np.arctanh(np.sqrt(curvature) * gap)


def all_pairs(labels):
    """Returns the lists of positive and of negative (anchor, other)."""
    positive, negative = [], []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        positive += [(a, p) for p in own]
        negative += [(a, n) for n in rest]
    return positive, negative


def mean(values):
    return sum(values) / len(values) if values else 0.0


def contrastive(labels, x, positive_margin, negative_margin, power, **options):
    positive, negative = all_pairs(labels)
    kind = options["distance"]
    pull = [max(0, distance(x[a], x[p], kind) - positive_margin) for a, p in positive]
    push = [max(0, negative_margin - distance(x[a], x[n], kind)) for a, n in negative]
    return sum(mean([v**power for v in part if v > 0]) for part in (pull, push))


def snr_contrastive(labels, x, zero_mean_weight, **options):
    off_centre = mean([abs(row.sum()) for row in x])
    return contrastive(labels, x, **options) + zero_mean_weight * off_centre


def n_pairs(labels, x, scale):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        for p in own:
            losses.append(
                np.log(1 + sum(np.exp(scale * (x[a] @ x[n] - x[a] @ x[p])) for n in rest))
            )
    return mean(losses)


def nt_xent(labels, x, temperature):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        for p in own:
            pair = np.exp(x[a] @ x[p] / temperature)
            losses.append(
                -np.log(pair / (pair + sum(np.exp(x[a] @ x[n] / temperature) for n in rest)))
            )
    return mean(losses)


def multiple_negatives_ranking(labels, x, scale):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        if own:
            near = sum(np.exp(scale * x[a] @ x[p]) for p in own)
            losses.append(-np.log(near / (near + sum(np.exp(scale * x[a] @ x[n]) for n in rest))))
    return mean(losses)


def sup_con(labels, x, temperature):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        total = sum(np.exp(x[a] @ x[j] / temperature) for j in own + rest)
        if own:
            losses.append(mean([-np.log(np.exp(x[a] @ x[p] / temperature) / total) for p in own]))
    return mean(losses)


def pairwise_sigmoid(labels, x, scale, bias):
    positive, negative = all_pairs(labels)
    pull = sum(np.log(1 + np.exp(-(scale * x[a] @ x[p] + bias))) for a, p in positive)
    push = sum(np.log(1 + np.exp(scale * x[a] @ x[n] + bias)) for a, n in negative)
    return (pull + push) / len(labels)


def instance(labels, x, scale):
    losses = []
    for a in range(len(labels)):
        total = sum(np.exp(scale * (x[a] @ x[j] - x[a] @ x[a])) for j in range(len(labels)))
        losses.append(np.log(total))
    return mean(losses)


def intra_pair_variance(labels, x, positive_slack, negative_slack):
    positive, negative = all_pairs(labels)
    near, far = [x[a] @ x[p] for a, p in positive], [x[a] @ x[n] for a, n in negative]
    low, high = (1 - positive_slack) * mean(near), (1 + negative_slack) * mean(far)
    pull = mean([max(0, low - s) ** 2 for s in near])
    return pull + mean([max(0, s - high) ** 2 for s in far])


def angular(labels, x, angle):
    t = np.tan(np.radians(angle)) ** 2
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        for p in own:
            terms = [4 * t * (x[a] + x[p]) @ x[n] - 2 * (1 + t) * x[a] @ x[p] for n in rest]
            losses.append(np.log(1 + sum(np.exp(terms))))
    return mean(losses)


def lifted_structure(labels, x, margin, **options):
    losses = []
    kind = options["distance"]
    for i, j in all_pairs(labels)[0]:
        total = sum(
            np.exp(margin - distance(x[end], x[n], kind))
            for end in (i, j)
            for n in rivals(labels, end)[1]
        )
        if total:
            losses.append(max(0, np.log(total) + distance(x[i], x[j], kind)) ** 2 / 2)
        else:
            losses.append(0.0)
    return mean(losses)


def generalized_lifted(labels, x, margin, **options):
    losses = []
    kind = options["distance"]
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        if own and rest:
            far = np.log(sum(np.exp(distance(x[a], x[p], kind)) for p in own))
            near = np.log(sum(np.exp(margin - distance(x[a], x[n], kind)) for n in rest))
            losses.append(max(0, far + near))
    return mean(losses)


def circle(labels, x, margin, scale, constants_at=None):
    fixed = x if constants_at is None else constants_at
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        if own and rest:
            push = sum(
                np.exp(scale * max(0, fixed[a] @ fixed[n] + margin) * (x[a] @ x[n] - margin))
                for n in rest
            )
            pull = sum(
                np.exp(
                    -scale * max(0, 1 + margin - fixed[a] @ fixed[p]) * (x[a] @ x[p] - 1 + margin)
                )
                for p in own
            )
            losses.append(np.log(1 + push * pull))
    return mean(losses)


def tuplet_margin(labels, x, slack, scale):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        for p in own:
            pulled = np.cos(np.arccos(x[a] @ x[p]) - np.radians(slack))
            losses.append(np.log(1 + sum(np.exp(scale * (x[a] @ x[n] - pulled)) for n in rest)))
    return mean(losses)


def ranked_list(labels, x, boundary, margin, temperature, balance, constants_at=None, **options):
    fixed = x if constants_at is None else constants_at
    kind = options["distance"]
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        off = [distance(x[a], x[p], kind) - (boundary - margin) for p in own]
        near = [n for n in rest if distance(x[a], x[n], kind) < boundary]
        sharp = [
            np.exp(temperature * (boundary - distance(fixed[a], fixed[n], kind))) for n in near
        ]
        push = sum(
            w / sum(sharp) * (boundary - distance(x[a], x[n], kind))
            for w, n in zip(sharp, near, strict=True)
        )
        losses.append((1 - balance) * mean([v for v in off if v > 0]) + balance * push)
    return mean(losses)


def soft_nearest_neighbour(labels, x, temperature, **options):
    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        near = {
            j: np.exp(-distance(x[a], x[j], options["distance"]) / temperature) for j in own + rest
        }
        if own:
            losses.append(-np.log(sum(near[p] for p in own) / sum(near.values())))
    return mean(losses)


def threshold_consistent_margin(
    labels, x, positive_similarity, negative_similarity, positive_weight, negative_weight
):
    positive, negative = all_pairs(labels)
    low = [positive_similarity - x[a] @ x[p] for a, p in positive]
    high = [x[a] @ x[n] - negative_similarity for a, n in negative]
    pull, push = mean([v for v in low if v >= 0]), mean([v for v in high if v >= 0])
    return positive_weight * pull + negative_weight * push


def hyperbolic(labels, x, curvature, temperature, largest_length):
    def nearness(a, b):
        return -poincare(a, b, curvature, largest_length) if curvature else a @ b

    losses = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        for p in own:
            pair = np.exp(nearness(x[a], x[p]) / temperature)
            others = sum(np.exp(nearness(x[a], x[n]) / temperature) for n in rest)
            losses.append(-np.log(pair / (pair + others)))
    return mean(losses)


def vicreg(labels, x, invariance_weight, variance_weight, covariance_weight, target_deviation):
    rows, dim = x.shape
    x = x / (target_deviation or 1 / np.sqrt(dim))
    invariance = mean([((x[a] - x[p]) ** 2).sum() / dim for a, p in all_pairs(labels)[0]])
    centred = [row - x.mean(0) for row in x]
    variance, covariance = 0.0, 0.0
    for i in range(dim):
        for j in range(dim):
            value = sum(row[i] * row[j] for row in centred) / max(rows - 1, 1)
            if i == j:
                variance += max(0, 1 - np.sqrt(value + 1e-4)) / dim
            else:
                covariance += value**2 / dim
    return (
        invariance_weight * invariance + variance_weight * variance + covariance_weight * covariance
    )


def barlow_twins(labels, x, redundancy_weight):
    dim = x.shape[1]
    x = (x - x.mean(0)) / np.sqrt(x.var(0) + 1e-6)
    positive, _ = all_pairs(labels)
    total = 0.0
    for i in range(dim):
        for j in range(dim):
            correlation = mean([x[a, i] * x[p, j] for a, p in positive])
            total += (1 - correlation) ** 2 if i == j else redundancy_weight * correlation**2
    return total / dim


def margin(labels, x, margin, boundary, boundary_weight, per_class):
    costs = []
    for a in range(len(labels)):
        own, rest = rivals(labels, a)
        b = x[a, -1]
        costs += [max(0, margin + distance(x[a, :-1], x[p, :-1], "euclidean") - b) for p in own]
        costs += [max(0, margin - distance(x[a, :-1], x[n, :-1], "euclidean") + b) for n in rest]
    return mean([c for c in costs if c > 0]) + boundary_weight * np.mean(x[:, -1])


def dynamic_soft_margin(labels, x, bins, momentum, constants_at=None):
    at = x if constants_at is None else constants_at
    distribution = at[0, -bins:]

    def difference(x, a, p):
        rest = rivals(labels, a)[1]
        d = [distance(x[i, :-bins], x[n, :-bins], "euclidean") for i in (a, p) for n in rest]
        return distance(x[a, :-bins], x[p, :-bins], "euclidean") - min(d)

    costs = []
    for a, p in all_pairs(labels)[0]:
        if rivals(labels, a)[1]:
            place = round((difference(at, a, p) + 2) / 4 * (bins - 1))
            costs.append(distribution[place] * difference(x, a, p))
    return mean(costs)
