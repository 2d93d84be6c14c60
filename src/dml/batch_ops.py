"""Operations on a batch's similarity matrix, safe where the obvious formula overflows."""

from keras import ops


def unit_length(x):
    """Returns float x (..., D) divided by its length; a zero vector stays zero, with gradient 0."""
    # Squares of tiny entries underflow float32 and those of large ones overflow: scale first.
    largest = ops.stop_gradient(ops.max(ops.abs(x), axis=-1, keepdims=True))
    x = x / ops.where(largest > 0, largest, ops.ones_like(largest))
    # The clamp is inside the root: the gradient of a length is not finite at zero.
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=-1, keepdims=True), 1e-24))


def log1p_sum_exp(x, where, axis):
    """Returns log(1 + sum of exp(x)) over the entries of `axis` where `where` is true.

    0 where no entry is. Never forms exp(x), which overflows float32 above 88.
    """
    return ops.softplus(ops.logsumexp(ops.where(where, x, -float("inf")), axis=axis))


def squared_distances(x):
    """Returns the squared Euclidean distances (B, B) of the rows of x (B, D), at least 0."""
    squares = ops.sum(ops.square(x), axis=1)
    inner = ops.matmul(x, ops.transpose(x))
    return ops.maximum(squares[:, None] + squares[None, :] - 2.0 * inner, 0.0)


def distances(x):
    """Returns the Euclidean distances (B, B) of the rows of x (B, D).

    Below 1e-3 it gives 0 with gradient 0: float32 can't tell such vectors of length 1 apart, and
    the gradient of a distance is not finite at 0.
    """
    squared = squared_distances(x)
    apart = squared > 1e-6
    return ops.where(apart, ops.sqrt(ops.where(apart, squared, 1.0)), 0.0)


def same_label(labels):
    """Returns the boolean (B, B) matrix of pairs that share a label, self-pairs included."""
    labels = ops.convert_to_tensor(labels)
    return labels[:, None] == labels[None, :]


def pair_masks(labels):
    """Returns the boolean (B, B) matrices of positive pairs, without self-pairs, and negative."""
    same = same_label(labels)
    itself = ops.eye(ops.shape(labels)[0], dtype="bool")
    return ops.logical_and(same, ~itself), ~same
