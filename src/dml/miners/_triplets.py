"""Selection of triplets without listing them: counts how many use each pair, in O(B R log R)."""

import functools

from keras import ops

from dml.ops import as_weights, is_boolean, keep, present, row_shares

MINING = ("all", "semi_hard", "hard")

# Squared distances of unit vectors in float32 carry errors of this size: nearer is equal.
TIE = 1e-6
FEW = 4  # positives per anchor up to which they are counted one by one, without sorting
BLOCK = 32  # entries of a row whose largest is looked at first


def triplet_counts(distances, positive, negative, margin, mining):
    """Counts, for each pair of a batch, the selected triplets that it is part of.

    Every triplet is an anchor, a positive and a negative; where masks are weights, it counts as
    the product of its two pairs' weights. `all` selects those with a hinge,
    d(anchor, positive) + margin > d(anchor, negative); `semi_hard` those whose negative is
    also farther than the positive (Schroff et al., 2015); `hard` one for each anchor, of its
    farthest positive and its nearest negative (Hermans et al., 2017), with or without a hinge; ties
    share it.

    Args:
        distances: Floats (B, R), row i for anchor i; no gradient passes.
        positive: Mask (B, R) of positive pairs, boolean or weights.
        negative: Mask (B, R) of negative pairs.
        margin: Margin of the hinge; at least 0. Unused by `hard`.
        mining: `all`, `semi_hard` or `hard`.

    Returns:
        Two float32 matrices (B, R): the triplets of anchor i in which j is the positive, and
        those in which j is the negative. Their row sums are equal.
    """
    distances = ops.stop_gradient(distances)
    if mining == "hard":
        there = present(positive), present(negative)
        farthest = ops.amax(ops.where(there[0], distances, -float("inf")), axis=1, keepdims=True)
        nearest = ops.amin(ops.where(there[1], distances, float("inf")), axis=1, keepdims=True)
        valid = ops.isfinite(farthest) & ops.isfinite(nearest)
        return (
            row_shares(keep(positive, valid & (distances == farthest))),
            row_shares(keep(negative, valid & (distances == nearest))),
        )
    low = min(TIE, margin) if mining == "semi_hard" else -float("inf")
    width = distances.shape[1]
    most = FEW if width is None else min(FEW, width)
    few = ops.amax(ops.sum(ops.cast(present(positive), "int32"), axis=1)) <= most
    return ops.cond(
        ops.logical_and(few, ops.shape(distances)[1] >= most),
        lambda: _counts_of_few(distances, positive, negative, low, margin, most),
        lambda: _counts_by_sorting(distances, positive, negative, low, margin),
    )


def _counts_of_few(distances, positive, negative, low, high, most):
    """Counts the triplets whose d(anchor, negative) - d(anchor, positive) is in [low, high).

    For at most `most` positives of each anchor, which it takes one after the other.
    """
    infinity = float("inf")
    own, places = _largest(ops.where(present(positive), distances, -infinity), most)
    if is_boolean(positive):
        share = as_weights(own > -infinity)  # (B, most), 0 if there is none
    else:
        share = ops.take_along_axis(positive, places, axis=1)
    reachable = ops.where(present(negative), distances, infinity)

    def add(k, as_negative):
        """Adds the weights (B, R) of the negatives of each anchor's triplets with its k-th."""
        one = own[:, k : k + 1]
        between = reachable < one + high
        if low > -infinity:
            between = between & (reachable >= one + low)
        between = as_weights(between)
        if not is_boolean(negative):
            between = between * negative
        counted = between if is_boolean(positive) else share[:, k : k + 1] * between
        total = counted if as_negative is None else as_negative + counted
        return total, ops.sum(between, axis=1)

    def leave(as_negative):
        return as_negative, ops.zeros_like(own[:, 0])

    as_negative, count = add(0, None)
    counts = [count]
    for k in range(1, most):
        as_negative, count = ops.cond(
            ops.any(own[:, k] > -infinity),
            functools.partial(add, k, as_negative),
            functools.partial(leave, as_negative),
        )
        counts.append(count)
    as_positive = _put(share * ops.stack(counts, axis=1), places, ops.shape(distances)[1])
    return as_positive, as_negative


def _largest(x, count):
    """Returns the largest entries of each row of x (B, R) and their places, both (B, count).

    Of rows that blocks divide evenly it looks at the blocks' maxima first: whatever is among the
    largest entries is in one of the blocks whose maxima are.
    """
    width = x.shape[1]
    if width is None or width % BLOCK or width // BLOCK < 2 * count:
        return ops.top_k(x, count)
    blocks = ops.reshape(x, (-1, BLOCK))  # (B * R / BLOCK, BLOCK)
    across = width // BLOCK
    _, chosen = ops.top_k(ops.reshape(ops.amax(blocks, axis=1), (-1, across)), count)
    first = across * ops.arange(ops.shape(x)[0], dtype=chosen.dtype)[:, None]
    inside = ops.take(blocks, first + chosen, axis=0)  # (B, count, BLOCK)
    values, found = ops.top_k(ops.reshape(inside, (-1, count * BLOCK)), count)
    of_block = ops.take_along_axis(chosen, found // BLOCK, axis=1)
    return values, of_block * BLOCK + found % BLOCK


def _counts_by_sorting(distances, positive, negative, low, high):
    """Counts as `_counts_of_few` does, of any number of positives."""
    counts = _counts_below(distances, positive, negative, high)
    if low > -float("inf"):
        nearer = _counts_below(distances, positive, negative, low)
        counts = tuple(a - b for a, b in zip(counts, nearer, strict=True))
    return counts


def _counts_below(distances, positive, negative, margin):
    """Counts the triplets with d(anchor, negative) < d(anchor, positive) + margin, pair by pair.

    Sorting an anchor's positives, moved out by the margin, together with its negatives puts the
    negatives of a positive's triplets before it, and the positives of a negative's after it. Of
    equals, the positive comes first: negatives are moved out, too, by a float's last bit or two.
    """
    beyond = distances + ops.maximum(2.0**-23 * ops.abs(distances), 1e-37)
    if not is_boolean(positive):
        # A pair may be both, in part: each takes its own place.
        nothing = ops.zeros_like(positive)
        counts = _counts_below_apart(
            ops.concatenate([distances + margin, beyond], axis=1),
            ops.concatenate([as_weights(positive), nothing], axis=1),
            ops.concatenate([nothing, as_weights(negative)], axis=1),
        )
        width = distances.shape[1]
        return counts[0][:, :width], counts[1][:, width:]
    moved = ops.where(positive, distances + margin, beyond)
    return _counts_below_apart(moved, as_weights(positive), as_weights(negative))


def _counts_below_apart(moved, positive, negative):
    """Counts as `_counts_below` does, of weights that are not both positive anywhere."""
    order = ops.argsort(ops.where(positive + negative > 0, moved, float("inf")), axis=1)
    positive_in_order, negative_in_order = (
        ops.take_along_axis(mask, order, axis=1) for mask in (positive, negative)
    )
    negatives_before = ops.cumsum(negative_in_order, axis=1)
    positives_before = ops.cumsum(positive_in_order, axis=1)
    positives_after = positives_before[:, -1:] - positives_before
    return (
        _put(positive_in_order * negatives_before, order, ops.shape(order)[1]),
        _put(negative_in_order * positives_after, order, ops.shape(order)[1]),
    )


def _put(values, places, width):
    """Returns zeros (B, width) with values (B, N) at the columns `places` (B, N)."""
    rows = ops.shape(values)[0]
    places = ops.cast(places, "int32") + width * ops.arange(rows, dtype="int32")[:, None]
    flat = ops.segment_sum(
        ops.reshape(values, (-1,)), ops.reshape(places, (-1,)), num_segments=rows * width
    )
    return ops.reshape(flat, (rows, width))


def of_whole_triplets(positive, negative):
    """Returns the masks (B, R) without anchors that lack positive or negative pairs."""
    whole = ops.any(present(positive), axis=1, keepdims=True)
    whole = whole & ops.any(present(negative), axis=1, keepdims=True)
    return keep(positive, whole), keep(negative, whole)
