"""Counts that have gradients: how many pairs rank above another, and histograms."""

from keras import ops

from dml.ops import as_weights, mean_over, present


def nearer(similarities, temperature):
    """Returns how far (B, R, R) reference k is above j for anchor i, softly, in [0, 1]."""
    gaps = similarities[:, None, :] - similarities[:, :, None]  # (anchor, j, k)
    return ops.sigmoid(gaps / temperature)


def without_itself(mask):
    """Returns a mask (B, R, R) of an anchor's pairs k for each j, without k = j."""
    itself = ops.eye(ops.shape(mask)[1])
    return as_weights(mask)[:, None, :] * (1.0 - itself)


def count_above(above, mask):
    """Returns how many (B, R) of a mask's pairs rank above each j."""
    shares = as_weights(mask)
    if len(shares.shape) == 2:
        return ops.einsum("ijk,ik->ij", above, shares)
    return ops.sum(above * shares, axis=2)


def mean_of_anchors(values, positive):
    """Returns the mean over anchors, of those with a positive, of the mean over their positives."""
    valid = ops.any(present(positive), axis=1)
    return mean_over(mean_over(values, positive, axis=1), valid)


def soft_histogram(x, mask, low, high, bins):
    """Returns the histograms (B, bins + 1) of the rows of x (B, R), by its mask's weights.

    Each value is divided between the two bin centres around it, in proportion to nearness. Takes
    one pass for any number of bins.
    """
    places = ops.clip((x - low) * (bins / (high - low)), 0.0, float(bins))
    lower = ops.clip(ops.floor(ops.stop_gradient(places)), 0.0, float(bins - 1))
    upper_share = places - lower
    rows = ops.shape(x)[0]
    row = ops.arange(rows, dtype="int32")[:, None] * (bins + 1)
    first = ops.reshape(ops.cast(lower, "int32") + row, (-1,))
    chosen = as_weights(mask)

    def counts(share, cells):
        return ops.segment_sum(ops.reshape(share * chosen, (-1,)), cells, rows * (bins + 1))

    total = counts(1.0 - upper_share, first) + counts(upper_share, first + 1)
    return ops.reshape(total, (-1, bins + 1))
