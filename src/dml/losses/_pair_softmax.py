"""Softmax over the pairs of each anchor, in the two forms that several losses share."""

from keras import ops

from dml.ops import log_sum_exp, mean_over, present


def pairs_against_negatives(logits, positive, negative):
    """Returns the mean over positive pairs of -log(e^pair / (e^pair + sum of e^negatives))."""
    rivals = log_sum_exp(logits, negative, axis=1)[:, None]
    return mean_over(ops.softplus(rivals - logits), positive)


def own_against_rest(logits, positive, negative):
    """Returns the mean over anchors of -log(sum over positives of e^x / sum over all of e^x).

    Anchors without positives are left out.
    """
    valid = ops.any(present(positive), axis=1)
    sums = (log_sum_exp(logits, mask, axis=1) for mask in (positive, negative))
    own, rest = (ops.where(valid, x, ops.zeros_like(x)) for x in sums)
    return mean_over(ops.softplus(rest - own), valid)
