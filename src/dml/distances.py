"""Distances of all pairs of rows, with gradients that are finite where rows coincide."""

from keras import ops

from dml.batch_ops import products, unit_length


def cosine(x, y):
    """Returns 1 - the cosine of rows of length 1, in [0, 2]."""
    return 1.0 - products(x, y)


def dot(x, y):
    """Returns the negative inner products: nearer is smaller, as with a distance."""
    return -products(x, y)


def squared(x, y):
    """Returns the squared Euclidean distances, at least 0."""
    return squared_within(x) if x is y else squared_between(x, y)


def squared_between(x, y):
    """Returns the squared distances (B, R) of the rows of x (B, D) and y (R, D)."""
    of_x, of_y = ops.sum(ops.square(x), axis=1), ops.sum(ops.square(y), axis=1)
    inner = ops.matmul(x, ops.transpose(y))
    return ops.maximum(of_x[:, None] + of_y[None, :] - 2.0 * inner, 0.0)


@ops.custom_gradient
def squared_within(x):
    """Returns the squared distances (B, B) of the rows of x (B, D), with one product each way."""

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream
        both = upstream + ops.transpose(upstream)
        return 2.0 * (ops.sum(both, axis=1, keepdims=True) * x - ops.matmul(both, x))

    return squared_between(x, x), gradient


def euclidean(x, y):
    """Returns the Euclidean distances.

    Below 1e-3 it gives 0 with gradient 0: float32 can't tell such vectors of length 1 apart, and
    the gradient of a distance is not finite at 0.
    """
    return root(squared(x, y))


@ops.custom_gradient
def root(x):
    """Returns the square root, and 0 with gradient 0 where x is below 1e-6."""
    roots = ops.sqrt(ops.where(x > 1e-6, x, ops.zeros_like(x)))

    def gradient(*arguments, upstream=None):
        upstream = arguments[0] if upstream is None else upstream
        return ops.divide_no_nan(0.5 * upstream, roots)

    return roots, gradient


def snr(x, y):
    """Returns the variance of row differences, in units of the variance of the row of x.

    The inverse signal-to-noise ratio of Yuan et al. (CVPR 2019), of an anchor and its noise; not
    symmetric. Variances are over the D entries, the anchor's at least 1e-6.
    """
    dim = x.shape[1]
    means = ops.mean(x, axis=1)[:, None] - ops.mean(y, axis=1)[None, :]
    noise = ops.maximum(squared(x, y) / dim - ops.square(means), 0.0)
    return noise / ops.maximum(ops.var(x, axis=1)[:, None], 1e-6)


def poincare(x, y, curvature=1.0, largest_length=2.3):
    """Returns the distances in the Poincare ball of what the rows map to from its centre.

    Rows longer than `largest_length` are cut to it first (Guo et al., CVPR 2022), which keeps
    them off the rim, where gradients vanish. Between points u and v of the ball

        2 / sqrt(curvature) artanh(sqrt(curvature) |(-u) + v|)    with Mobius addition

    which is taken from |u|, |v| and u.v alone: no (B, R, D) tensor is formed.
    """
    radius = curvature**0.5
    u, v = (into_ball(rows, radius, largest_length) for rows in (x, y))
    inner = ops.matmul(u, ops.transpose(v))
    uu = ops.sum(ops.square(u), axis=1)[:, None]
    vv = ops.sum(ops.square(v), axis=1)[None, :]
    # |(-u) + v|^2 = |u - v|^2 / (1 - 2c u.v + c^2 |u|^2 |v|^2)
    gap = ops.maximum(uu + vv - 2.0 * inner, 0.0)
    below = 1.0 - 2.0 * curvature * inner + curvature**2 * uu * vv
    reach = ops.minimum(radius * root(gap / ops.maximum(below, 1e-6)), 1.0 - 1e-5)
    return (ops.log1p(reach) - ops.log1p(-reach)) / radius


def into_ball(rows, radius, largest_length):
    """Maps tangent vectors at the centre of the ball into it, shorter than 1 / radius."""
    length = root(ops.sum(ops.square(rows), axis=1, keepdims=True))
    shorter = ops.minimum(length, largest_length)
    return unit_length(rows) * ops.tanh(radius * shorter) / radius


DISTANCES = {
    "cosine": cosine,
    "dot": dot,
    "squared": squared,
    "euclidean": euclidean,
    "snr": snr,
    "poincare": poincare,
}


def check_distance(name):
    """Raises ValueError unless there is a distance of that name."""
    if name not in DISTANCES:
        raise ValueError(f"distance must be one of {', '.join(DISTANCES)}; got {name!r}")
