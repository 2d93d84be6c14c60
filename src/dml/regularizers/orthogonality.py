"""Orthogonality of the proxies, as in dml-tf, but cheap and bounded."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_at_least
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("orthogonality")
@dataclass(frozen=True)
class Orthogonality(Regularizer):
    """Spreads the classes' proxies by the mean squared cosine of those of different classes.

    With P the (C K, D) proxies of length 1, the sum over pairs is |P'P|^2 less that within the
    classes: a D x D product, never C x C. More classes than dimensions can't be orthogonal (their
    mean squared cosine is at least (C - D) / (D (C - 1)), by Welch's bound) and pushing them apart
    costs accuracy, so it is then 0 unless `crowded` is set.

    Args:
        weight: Factor of the mean; at least 0. 0.1 in dml-tf, which summed other terms.
        crowded: Whether to act even if there are more classes than dimensions.

    Call arguments:
        proxies: Floats (C, K, D), of length 1.

    Returns:
        Scalar in [0, weight].

    Raises:
        OptionError: `weight` is negative.

    Example:
        >>> proxies = keras.ops.array([[[1.0, 0.0]], [[0.8, 0.6]]])
        >>> round(float(dml.regularizers.Orthogonality(weight=1.0)(proxies)), 4)
        0.64
    """

    weight: float = 0.1
    crowded: bool = False

    def __post_init__(self):
        check_at_least(0, weight=self.weight)

    def __call__(self, proxies):
        classes, centres, dim = proxies.shape
        if classes == 1 or (classes > dim and not self.crowded):
            return ops.zeros((), proxies.dtype)
        rows = ops.reshape(proxies, (-1, dim))
        together = ops.sum(ops.square(ops.matmul(ops.transpose(rows), rows)))
        gram = ops.matmul(proxies, ops.transpose(proxies, (0, 2, 1)))  # (C, K, K)
        between = ops.maximum(together - ops.sum(ops.square(gram)), 0.0)
        return self.weight * between / (classes * (classes - 1) * centres**2)
