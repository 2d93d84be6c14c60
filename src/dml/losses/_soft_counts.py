"""Counts that have gradients: how many pairs rank above another."""

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
