"""RegularFace."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_at_least
from dml.regularizers.base import REGULARIZERS, Regularizer

_BLOCK = 1024  # classes compared with all others at once


@REGULARIZERS.register("regular_face")
@dataclass(frozen=True)
class RegularFace(Regularizer):
    """Pushes each class's proxy away from the most similar one: the mean of the largest cosines.

    Compares blocks of classes with all of them: time grows with the square of their number, memory
    does not.

    Args:
        weight: Factor. At least 0; 1 here.

    Call arguments:
        proxies: Floats (C, K, D), of length 1.

    Returns:
        Scalar in [-weight, weight]; 0 if there is one class.

    Raises:
        OptionError: `weight` is negative.

    Example:
        >>> proxies = keras.ops.array([[[1.0, 0.0]], [[0.8, 0.6]]])
        >>> round(float(dml.regularizers.RegularFace()(proxies)), 4)
        0.8

    References:
        - [Zhao et al., CVPR 2019](https://doi.org/10.1109/CVPR.2019.00123)
    """

    weight: float = 1.0

    def __post_init__(self):
        check_at_least(0, weight=self.weight)

    def __call__(self, proxies):
        classes, centres, dim = proxies.shape
        if classes == 1:
            return ops.zeros((), proxies.dtype)
        rows = ops.reshape(proxies, (-1, dim))
        owner = ops.arange(classes * centres) // centres
        step = max(_BLOCK // centres, 1) * centres
        total = 0.0
        for start in range(0, classes * centres, step):
            some = rows[start : start + step]
            cosines = ops.matmul(some, ops.transpose(rows))
            own = owner[start : start + step, None] == owner[None, :]
            total += ops.sum(ops.amax(ops.where(own, -2.0, cosines), axis=1))
        return self.weight * total / (classes * centres)
