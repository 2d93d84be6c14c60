"""Lengths, inner products and cosines of the rows of matrices, and their gradients."""

from keras import ops

from dml.ops.gradients import custom_gradient


def unit_length(x):
    """Returns float x (..., D) divided by its length; zero, with gradient 0, for a zero vector.

    The same holds for vectors shorter than 1e-34, whose gradient float32 can't represent.

    Args:
        x: Floats (..., D).
    """
    # Squares of tiny entries underflow float32 and those of large ones overflow: scale first.
    largest = ops.stop_gradient(ops.amax(ops.abs(x), axis=-1, keepdims=True))
    nonzero = ~(largest <= 1e-34)  # NaN stays NaN
    x = x / ops.where(nonzero, largest, ops.ones_like(largest))
    squares = ops.sum(ops.square(x), axis=-1, keepdims=True)  # at least 1, but of zero vectors
    inverse = ops.rsqrt(ops.where(nonzero, squares, ops.ones_like(squares)))
    return x * ops.where(nonzero, inverse, ops.zeros_like(inverse))


@custom_gradient
def cosines_to(embeddings, rows):
    """Returns the cosines (B, N) of embeddings (B, D) of length 1 to rows (N, D) of any length.

    0, with gradient 0, for rows shorter than 1e-12 or longer than 1e19. The custom gradient stores
    at most two (N, D) arrays, where that of the formula stores four: rows may be millions of
    proxies.

    Args:
        embeddings: Floats (B, D), of length 1.
        rows: Floats (N, D), of any length.
    """
    inverse = _inverse_length(ops.sum(ops.square(rows), axis=1))
    # Dividing (B, N) products is cheaper than (N, D) rows, where these are many.
    cosines = ops.matmul(embeddings, ops.transpose(rows)) * inverse

    def gradient(upstream):
        scaled = upstream * inverse
        along = ops.sum(upstream * cosines, axis=0) * ops.square(inverse)
        turned = ops.matmul(ops.transpose(scaled), embeddings) - along[:, None] * rows
        return ops.matmul(scaled, rows), turned

    return cosines, gradient


def products(x, y):
    """Returns the inner products (B, R) of the rows of x (B, D) and y (R, D).

    For one matrix with itself, the gradient takes one matrix product instead of two.

    Args:
        x: Floats (B, D).
        y: Floats (R, D); `x` itself for its own rows.
    """
    return _products_within(x) if x is y else ops.matmul(x, ops.transpose(y))


@custom_gradient
def _products_within(x):
    """Returns the inner products (B, B) of the rows of x (B, D)."""

    def gradient(upstream):
        return ops.matmul(upstream + ops.transpose(upstream), x)

    return ops.matmul(x, ops.transpose(x)), gradient


@custom_gradient
def spread_within_classes(proxies):
    """Returns the summed distances of all pairs of a class's directions, of proxies (C, K, D).

    A proxy shorter than 1e-12 or longer than 1e19 is at sqrt(2) from all others, with gradient 0.
    The custom gradient stores one array (C, K, D).

    Args:
        proxies: Floats (C, K, D), of any length.

    Returns:
        Scalar, at least 0.
    """
    inner = ops.matmul(proxies, ops.transpose(proxies, (0, 2, 1)))
    inverse = _inverse_length(ops.diagonal(inner, axis1=1, axis2=2))  # (C, K)
    lengths = inverse[:, :, None] * inverse[:, None, :]
    cosines = ops.where(lengths == 0, 0.0, inner * lengths)  # products of long ones are infinite
    # The 1e-5 of SoftTriple's authors: the root's gradient is infinite where proxies coincide.
    distances = ops.sqrt(ops.maximum(2.0 + 1e-5 - 2.0 * cosines, 1e-5))
    itself = ops.eye(proxies.shape[1])
    pairs = 1.0 - itself

    def gradient(upstream):
        by_cosine = -upstream * pairs / distances
        along = ops.sum(by_cosine * cosines, axis=2) * ops.square(inverse)
        return ops.matmul(by_cosine * lengths - itself * along[:, :, None], proxies)

    return 0.5 * ops.sum(distances * pairs), gradient


def _inverse_length(squares):
    """Returns 1 / length of vectors of these squared lengths (...); 0 below a length of 1e-12."""
    nonzero = squares > 1e-24
    return ops.where(nonzero, ops.rsqrt(ops.where(nonzero, squares, 1.0)), 0.0)
