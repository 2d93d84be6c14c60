"""Selection of triplets without listing them: how many use each pair, in O(B^2 log B)."""

from keras import ops

from dml.batch_ops import pair_masks

MINING = ("all", "semi_hard", "hard")

# Squared distances of unit vectors in float32 carry errors of this size: nearer is equal.
TIE = 1e-6


def triplet_counts(labels, distances, margin, mining):
    """Counts, for each pair of a batch, the selected triplets that it is part of.

    Every triplet is an anchor, a positive and a negative. `all` selects those with a hinge,
    d(anchor, positive) + margin > d(anchor, negative); `semi_hard` those whose negative is
    besides farther than the positive (Schroff et al., 2015); `hard` one for each anchor, of its
    farthest positive and its nearest negative (Hermans et al., 2017), hinge or none; where
    several tie, they share it.

    Args:
        labels: Integers (B,).
        distances: Floats (B, B), row i for anchor i; no gradient passes.
        margin: Of the hinge; at least 0. Unused by `hard`.
        mining: `all`, `semi_hard` or `hard`.

    Returns:
        Two float32 matrices (B, B): the triplets of anchor i in which j is the positive, and
        those in which j is the negative. Their row sums are equal.
    """
    positive, negative = pair_masks(labels)
    distances = ops.stop_gradient(distances)
    if mining == "hard":
        farthest = ops.max(ops.where(positive, distances, -1.0), axis=1, keepdims=True)
        nearest = ops.min(ops.where(negative, distances, float("inf")), axis=1, keepdims=True)
        valid = ops.any(positive, axis=1, keepdims=True) & ops.any(negative, axis=1, keepdims=True)
        return tuple(
            shares(pairs & valid)
            for pairs in (positive & (distances == farthest), negative & (distances == nearest))
        )
    counts = counts_below(positive, negative, distances, margin)
    if mining == "semi_hard":
        nearer = counts_below(positive, negative, distances, TIE)
        counts = tuple(a - b for a, b in zip(counts, nearer, strict=True))
    return counts


def shares(where):
    where = ops.cast(where, "float32")
    return where / ops.maximum(ops.sum(where, axis=1, keepdims=True), 1.0)


def counts_below(positive, negative, distances, margin):
    """Counts the triplets with d(anchor, negative) < d(anchor, positive) + margin, pair by pair.

    Sorting an anchor's positives, moved out by the margin, together with its negatives puts the
    negatives of a positive's triplets before it, and the positives of a negative's after it.
    """
    moved = ops.where(positive, distances + margin, distances)
    order = ops.argsort(ops.where(positive | negative, moved, float("inf")), axis=1)
    place = ops.argsort(order, axis=1)
    is_positive, is_negative = (
        ops.take_along_axis(ops.cast(mask, "float32"), order, axis=1)
        for mask in (positive, negative)
    )
    negatives_before = ops.cumsum(is_negative, axis=1)
    positives_before = ops.cumsum(is_positive, axis=1)
    positives_after = positives_before[:, -1:] - positives_before
    as_positive = ops.take_along_axis(negatives_before * is_positive, place, axis=1)
    as_negative = ops.take_along_axis(positives_after * is_negative, place, axis=1)
    return as_positive, as_negative
