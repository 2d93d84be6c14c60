"""Reference pair losses of a graded relation, in NumPy float64 loops.

A pair of relation r is a positive pair of weight r and a negative one of weight 1 - r: a mean over
pairs is the weighted mean, and a sum over pairs has the weights as factors.
"""

import numpy as np

from tests.losses.reference_pairs import distance, poincare


def pairs(relation, a):
    """Returns (other, weight as a positive, weight as a negative) of an anchor's pairs."""
    return [(j, relation[a, j], 1 - relation[a, j]) for j in range(len(relation)) if j != a]


def all_pairs(relation):
    return [(a, *pair) for a in range(len(relation)) for pair in pairs(relation, a)]


def mean(weighted):
    """Returns the mean of (weight, value); 0 of none."""
    total = sum(w for w, _ in weighted)
    return sum(w * v for w, v in weighted) / total if total else 0.0


def contrastive(relation, x, positive_margin, negative_margin, power, **options):
    kind = options["distance"]
    pull = [(r, distance(x[a], x[j], kind) - positive_margin) for a, j, r, _ in all_pairs(relation)]
    push = [(s, negative_margin - distance(x[a], x[j], kind)) for a, j, _, s in all_pairs(relation)]
    return sum(mean([(w, v**power) for w, v in part if v > 0]) for part in (pull, push))


def snr_contrastive(relation, x, zero_mean_weight, **options):
    off_centre = np.mean([abs(row.sum()) for row in x])
    return contrastive(relation, x, **options) + zero_mean_weight * off_centre


def against_negatives(relation, logit, pulled=lambda logit: logit):
    """Returns the mean over positive pairs of log(1 + sum of e^negative / e^positive)."""
    losses = []
    for a in range(len(relation)):
        rivals = sum(s * np.exp(logit(a, n)) for n, _, s in pairs(relation, a))
        losses += [
            (r, np.log(1 + rivals / np.exp(pulled(logit(a, p))))) for p, r, _ in pairs(relation, a)
        ]
    return mean(losses)


def n_pairs(relation, x, scale):
    return against_negatives(relation, lambda a, j: scale * x[a] @ x[j])


def nt_xent(relation, x, temperature):
    return against_negatives(relation, lambda a, j: x[a] @ x[j] / temperature)


def tuplet_margin(relation, x, slack, scale):
    def pulled(logit):
        return scale * np.cos(np.arccos(logit / scale) - np.radians(slack))

    return against_negatives(relation, lambda a, j: scale * x[a] @ x[j], pulled)


def hyperbolic(relation, x, curvature, temperature, largest_length):
    return against_negatives(
        relation, lambda a, j: -poincare(x[a], x[j], curvature, largest_length) / temperature
    )


def own_against_rest(relation, logit):
    losses = []
    for a in range(len(relation)):
        own = sum(r * np.exp(logit(a, j)) for j, r, _ in pairs(relation, a))
        rest = sum(s * np.exp(logit(a, j)) for j, _, s in pairs(relation, a))
        losses.append(-np.log(own / (own + rest)))
    return np.mean(losses)


def multiple_negatives_ranking(relation, x, scale):
    return own_against_rest(relation, lambda a, j: scale * x[a] @ x[j])


def soft_nearest_neighbour(relation, x, temperature, **options):
    kind = options["distance"]
    return own_against_rest(relation, lambda a, j: -distance(x[a], x[j], kind) / temperature)


def sup_con(relation, x, temperature):
    losses = []
    for a in range(len(relation)):
        total = sum(np.exp(x[a] @ x[j] / temperature) for j, _, _ in pairs(relation, a))
        own = [(r, np.log(total) - x[a] @ x[j] / temperature) for j, r, _ in pairs(relation, a)]
        losses.append(mean(own))
    return np.mean(losses)


def pairwise_sigmoid(relation, x, scale, bias):
    total = 0.0
    for a, j, r, s in all_pairs(relation):
        logit = scale * x[a] @ x[j] + bias
        total += r * np.log(1 + np.exp(-logit)) + s * np.log(1 + np.exp(logit))
    return total / len(x)


def intra_pair_variance(relation, x, positive_slack, negative_slack):
    near = [(r, x[a] @ x[j]) for a, j, r, _ in all_pairs(relation)]
    far = [(s, x[a] @ x[j]) for a, j, _, s in all_pairs(relation)]
    low, high = (1 - positive_slack) * mean(near), (1 + negative_slack) * mean(far)
    pull = mean([(w, max(0, low - v) ** 2) for w, v in near])
    return pull + mean([(w, max(0, v - high) ** 2) for w, v in far])


def threshold_consistent_margin(
    relation, x, positive_similarity, negative_similarity, positive_weight, negative_weight
):
    low = [(r, positive_similarity - x[a] @ x[j]) for a, j, r, _ in all_pairs(relation)]
    high = [(s, x[a] @ x[j] - negative_similarity) for a, j, _, s in all_pairs(relation)]
    pull, push = (mean([(w, v) for w, v in part if v >= 0]) for part in (low, high))
    return positive_weight * pull + negative_weight * push


def lifted_structure(relation, x, margin, **options):
    kind = options["distance"]
    near = [
        sum(s * np.exp(margin - distance(x[a], x[n], kind)) for n, _, s in pairs(relation, a))
        for a in range(len(x))
    ]
    return mean(
        [
            (r, max(0, np.log(near[i] + near[j]) + distance(x[i], x[j], kind)) ** 2 / 2)
            for i, j, r, _ in all_pairs(relation)
        ]
    )


def generalized_lifted(relation, x, margin, **options):
    kind = options["distance"]
    losses = []
    for a in range(len(x)):
        d = {j: distance(x[a], x[j], kind) for j, _, _ in pairs(relation, a)}
        far = sum(r * np.exp(d[j]) for j, r, _ in pairs(relation, a))
        near = sum(s * np.exp(margin - d[j]) for j, _, s in pairs(relation, a))
        losses.append(max(0, np.log(far) + np.log(near)))
    return np.mean(losses)


def angular(relation, x, angle):
    t = np.tan(np.radians(angle)) ** 2
    losses = []
    for a, p, r, _ in all_pairs(relation):
        rivals = sum(
            s * (1 - relation[p, n]) * np.exp(4 * t * (x[a] @ x[n] + x[p] @ x[n]))
            for n, _, s in pairs(relation, a)
            if n != p
        )
        losses.append((r, np.log(1 + rivals * np.exp(-2 * (1 + t) * x[a] @ x[p]))))
    return mean(losses)


def circle(relation, x, margin, scale):
    losses = []
    for a in range(len(x)):
        push = pull = 0.0
        for j, r, s in pairs(relation, a):
            cosine = x[a] @ x[j]
            push += s * np.exp(scale * max(0, cosine + margin) * (cosine - margin))
            pull += r * np.exp(-scale * max(0, 1 + margin - cosine) * (cosine - 1 + margin))
        losses.append(np.log(1 + push * pull))
    return np.mean(losses)


def ranked_list(relation, x, boundary, margin, temperature, balance, **options):
    losses = []
    for a in range(len(x)):
        d = {j: distance(x[a], x[j], options["distance"]) for j, _, _ in pairs(relation, a)}
        off = [(r, d[j] - (boundary - margin)) for j, r, _ in pairs(relation, a)]
        near = [(s, boundary - d[j]) for j, _, s in pairs(relation, a)]
        sharp = [(s * np.exp(temperature * v), v) for s, v in near if v > 0]
        pull = mean([(w, v) for w, v in off if v > 0])
        losses.append((1 - balance) * pull + balance * mean(sharp))
    return np.mean(losses)
