"""Distances of all pairs of rows, with gradients that are finite where rows coincide."""

from keras import ops

from dml._options import check_known
from dml.ops.gradients import custom_gradient
from dml.ops.vectors import products, unit_length


def cosine(x, y):
    """Returns 1 - the cosine of rows of length 1.

    Args:
        x: Floats (B, D), of length 1.
        y: Floats (R, D), of length 1.

    Returns:
        Floats (B, R), in [0, 2].
    """
    distances = 1.0 - products(x, y)
    return ops.where(distances <= _blur(x) / 2, 0.0, distances)


def dot(x, y):
    """Returns the negative inner products: nearer is smaller, as with a distance.

    Args:
        x: Floats (B, D).
        y: Floats (R, D).

    Returns:
        Floats (B, R).
    """
    return -products(x, y)


def squared(x, y):
    """Returns the squared Euclidean distances.

    Args:
        x: Floats (B, D).
        y: Floats (R, D).

    Returns:
        Floats (B, R), at least 0; exactly 0 of equal rows.
    """
    return _squared_within(x) if x is y else _squared_from(x, y)


@custom_gradient
def _squared_within(x):
    """Returns the squared distances (B, B) of the rows of x (B, D), with one product each way."""

    def gradient(upstream):
        both = upstream + ops.transpose(upstream)
        return 2.0 * (ops.sum(both, axis=1, keepdims=True) * x - ops.matmul(both, x))

    return _squared_from(x, x), gradient


def _squared_from(x, y):
    """Returns the squared distances (B, R) of the rows of x (B, D) and y (R, D)."""
    inner = ops.matmul(x, ops.transpose(y))
    if x is y:
        # Rounded like the products of equal rows, even on accelerators with reduced precision.
        of_x = of_y = ops.diagonal(inner)
    else:
        of_x, of_y = ops.sum(ops.square(x), axis=1), ops.sum(ops.square(y), axis=1)
    distances = of_x[:, None] + of_y[None, :] - 2.0 * inner
    return ops.where(distances <= _blur(x) * of_x[:, None], 0.0, distances)


def _blur(x):
    """Returns the error of float32 products in the squared distance of two equal rows of length 1.

    Rows that are nearer, by less than about 2e-3, can't be distinguished and are at a distance of
    0: whether duplicates are active pairs must not depend on rounding. Rounding errors add up like
    a random walk; the largest measured for 3 to 2048 dimensions, on three backends, is 0.6 times
    this.
    """
    return 3.0 * (2.0**-24 * x.shape[1] ** 0.5 + 2.0**-23)


def euclidean(x, y):
    """Returns the Euclidean distances.

    0, with gradient 0, for rows that float32 can't distinguish, at 2e-3 of their length or less:
    the gradient of a distance is not finite at 0.

    Args:
        x: Floats (B, D).
        y: Floats (R, D).

    Returns:
        Floats (B, R), at least 0.
    """
    return _root(squared(x, y))


@custom_gradient
def _root(x):
    """Returns the square root of x >= 0, with gradient 0 at 0."""
    roots = ops.sqrt(x)

    def gradient(upstream):
        return ops.divide_no_nan(0.5 * upstream, roots)

    return roots, gradient


def snr(x, y):
    """Returns the variance of row differences, in units of the variance of the row of x.

    The inverse signal-to-noise ratio of Yuan et al. (CVPR 2019), of an anchor and its noise; not
    symmetric. Variances are over the D entries, the anchor's at least 1e-6.

    Args:
        x: Floats (B, D), the anchors.
        y: Floats (R, D).

    Returns:
        Floats (B, R), at least 0.
    """
    signal = _centred(x)
    noise = squared(signal, signal if x is y else _centred(y)) / x.shape[1]
    return noise / ops.maximum(ops.mean(ops.square(signal), axis=1)[:, None], 1e-6)


def _centred(rows):
    """Returns rows less the mean of each."""
    return rows - ops.mean(rows, axis=1, keepdims=True)


def poincare(x, y, curvature=1.0, largest_length=2.3):
    """Returns the distances in the Poincare ball, after mapping the rows from its centre.

    Rows longer than `largest_length` are shortened to it first (Guo et al., CVPR 2022), which keeps
    them away from the boundary, where gradients vanish. Between points u and v of the ball

        2 / sqrt(curvature) artanh(sqrt(curvature) |(-u) + v|)    with Mobius addition

    which is computed from |u|, |v| and |u - v| alone, without a (B, R, D) tensor.

    Args:
        x: Floats (B, D).
        y: Floats (R, D).
        curvature: Curvature of the ball; positive.
        largest_length: Length to which longer rows are shortened; positive.

    Returns:
        Floats (B, R), at least 0.
    """
    radius = curvature**0.5
    u = _into_ball(x, radius, largest_length)
    v = u if x is y else _into_ball(y, radius, largest_length)
    uu = ops.sum(ops.square(u), axis=1)[:, None]
    vv = ops.sum(ops.square(v), axis=1)[None, :]
    # |(-u) + v|^2 = |u - v|^2 / (1 - 2c u.v + c^2 |u|^2 |v|^2), where 2 u.v = |u|^2 + |v|^2 - gap
    gap = squared(u, v)
    below = (1.0 - curvature * uu) * (1.0 - curvature * vv) + curvature * gap
    reach = ops.minimum(radius * _root(gap / ops.maximum(below, 1e-6)), 1.0 - 1e-5)
    return (ops.log1p(reach) - ops.log1p(-reach)) / radius


def _into_ball(rows, radius, largest_length):
    """Maps tangent vectors at the centre of the ball into it, shorter than 1 / radius."""
    length = _root(ops.sum(ops.square(rows), axis=1, keepdims=True))
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


def check_distance(name: str) -> None:
    """Raises OptionError unless a distance has that name.

    Args:
        name: A key of `DISTANCES`, if valid.
    """
    check_known(DISTANCES, distance=name)
