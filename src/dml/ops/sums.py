"""Sums and means over masks, stable where the obvious formula overflows."""

from keras import ops

from dml.ops.gradients import custom_gradient
from dml.ops.masks import as_weights, is_boolean, present


def log_sum_exp(x, mask, axis):
    """Returns the logarithm of the sum of exp(x) over `axis`, each entry weighted by its mask.

    Minus infinity where there is no entry, with gradient 0; never forms exp(x), which overflows
    float32 above 88.

    Args:
        x: Floats of any shape.
        mask: Booleans, or floats in [0, 1], of the same shape.
        axis: The axis, an integer.
    """
    return ops.logsumexp(_masked(x, mask), axis=axis)


def log1p_sum_exp(x, where, axis):
    """Returns log(1 + sum of exp(x)) over `axis`, each entry weighted by its mask `where`.

    0 if there is no entry. Its gradient, exp(x - result), stores only x.

    Args:
        x: Floats of any shape.
        where: Booleans, or floats in [0, 1], of the same shape.
        axis: The axis, an integer.
    """

    @custom_gradient
    def result_of(x):
        result = ops.softplus(ops.logsumexp(x, axis=axis))

        def gradient(upstream):
            at = [ops.expand_dims(array, axis) for array in (result, upstream)]
            return ops.exp(x - at[0]) * at[1]

        return result, gradient

    return result_of(_masked(x, where))


def _masked(x, mask):
    """Returns exponents x (...) plus the logarithm of their mask's weights."""
    if not is_boolean(mask):
        x = x + ops.log(ops.where(mask > 0, mask, ops.ones_like(mask)))
    return ops.where(present(mask), x, -float("inf"))


def weighted_sum(values, by):
    """Returns the sum of values (B, N) times weights `by`, through which no gradient passes.

    Args:
        values: Floats (B, N).
        by: Floats (B, N).
    """
    by = ops.stop_gradient(by)

    @custom_gradient
    def result_of(values):
        return ops.sum(values * by), lambda upstream: upstream * by

    return result_of(values)


def ratio(total, count):
    """Returns total / count; where the count is 0, the total, which is 0 for an empty sum.

    Args:
        total: Floats of any shape.
        count: Floats of the same shape, at least 0.
    """
    return total / ops.where(count > 0, count, ops.ones_like(count))


def mean_over(values, mask, axis=None):
    """Returns the mean of values by a mask's weights, over `axis` or all; 0 if it is empty.

    Masked-out values may be infinite.

    Args:
        values: Floats of any shape.
        mask: Booleans, or floats in [0, 1], of the same shape.
        axis: The axis, an integer; None for all of them.
    """
    share = as_weights(mask)
    chosen = ops.where(share > 0, values, ops.zeros_like(values))
    return ratio(ops.sum(chosen * share, axis=axis), ops.sum(share, axis=axis))


def share_kept(kept, masks):
    """Returns the share, by weight, of the pairs of masks (...) that are in the masks `kept`.

    Args:
        kept: Masks, such as those of positives and of negatives after mining.
        masks: As many masks before it.
    """
    return ratio(*(sum(ops.sum(as_weights(mask)) for mask in each) for each in (kept, masks)))


def row_shares(mask):
    """Returns the weights of a mask (B, N) divided by their sum in each row; 0 in empty rows.

    Args:
        mask: Booleans, or floats in [0, 1], (B, N).
    """
    return ratio(as_weights(mask), ops.sum(as_weights(mask), axis=1, keepdims=True))
