"""Fewer centres per class."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_at_least
from dml.ops import spread_within_classes
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("sparse_centers")
@dataclass(frozen=True)
class SparseCenters(Regularizer):
    """Pulls superfluous centres of a class together, by their mean distance within a class.

    weight / (C K (K - 1)) times the sum over classes and pairs of centres of their distance. For
    losses of several proxies per class other than SoftTriple, which has it built in.

    Args:
        weight: tau in the paper. At least 0; 0.2.

    Call arguments:
        proxies: Floats (C, K, D); only their directions act.

    Returns:
        Scalar, at least 0; 0 if there is one proxy per class.

    Raises:
        OptionError: `weight` is negative.

    Example:
        >>> proxies = keras.ops.array([[[1.0, 0.0]], [[0.8, 0.6]]])
        >>> round(float(dml.regularizers.SparseCenters()(proxies)), 4)
        0.0

    References:
        - [Qian et al., ICCV 2019](https://arxiv.org/abs/1909.05235)
    """

    weight: float = 0.2

    def __post_init__(self):
        check_at_least(0, weight=self.weight)

    def __call__(self, proxies):
        classes, centres, _ = proxies.shape
        if centres == 1:
            return ops.zeros((), proxies.dtype)
        return self.weight * spread_within_classes(proxies) / (classes * centres * (centres - 1))
