"""Anti-collapse by the coding rate."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_at_least, check_positive
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("anti_collapse")
@dataclass(frozen=True)
class AntiCollapse(Regularizer):
    """Spreads the proxies by raising their coding rate, the bits needed to distinguish them.

    With P the (N, D) proxies of length 1, minus

        1/2 log det(I + D / (N epsilon^2) P'P)

    over the smaller of the two matrices P'P and PP'. The result is a mean over D, so that the
    weight does not depend on the dimension. Implemented from the paper's abstract; its settings are
    unverified.

    Args:
        weight: Factor. At least 0; 0.1 here.
        epsilon: Precision of the code. Positive; 0.5, as in work on the coding rate.

    Call arguments:
        proxies: Floats (C, K, D), of length 1.

    Returns:
        Scalar, at most 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> proxies = keras.ops.array([[[1.0, 0.0]], [[0.8, 0.6]]])
        >>> round(float(dml.regularizers.AntiCollapse()(proxies)), 4)
        -0.0673

    References:
        - [Jiang et al., 2024](https://arxiv.org/abs/2407.03106)
    """

    weight: float = 0.1
    epsilon: float = 0.5

    def __post_init__(self):
        check_at_least(0, weight=self.weight)
        check_positive(epsilon=self.epsilon)

    def __call__(self, proxies):
        classes, centres, dim = proxies.shape
        rows = ops.reshape(proxies, (-1, dim))
        count = classes * centres
        if count < dim:
            gram = ops.matmul(rows, ops.transpose(rows))
        else:
            gram = ops.matmul(ops.transpose(rows), rows)
        size = min(count, dim)
        factor = ops.cholesky(ops.eye(size) + gram * (dim / (count * self.epsilon**2)))
        return -self.weight * ops.sum(ops.log(ops.diagonal(factor))) / dim
