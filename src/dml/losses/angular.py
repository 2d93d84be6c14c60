"""Angular loss."""

import math
from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_interval
from dml.losses.base import LOSSES, PairLoss
from dml.ops import as_weights, mean_over


@LOSSES.register("angular")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Angular(PairLoss):
    """Bounds the angle at the negative of each triangle of anchor, positive and negative.

    With s the inner product of two embeddings and t the squared tangent of `angle`, the mean over
    the positive pairs (a, p) of

        log(1 + sum over negatives n of exp(4 t (s(a, n) + s(p, n)) - 2 (1 + t) s(a, p)))

    n runs over the negatives of both. The sum over triplets factors into one product of (B, B)
    matrices. Angles don't depend on scale, so one value suits all classes.

    Args:
        angle: Largest angle at the negative, alpha in the paper, in degrees. In (0, 60]; 45 in
            the paper's experiments on Cars.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.Angular()(labels, x)), 3)
        3.107

    References:
        - [Wang et al., ICCV 2017](https://arxiv.org/abs/1708.01682)
    """

    angle: float = 45.0
    both_ends: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        # Beyond 60 degrees the exponents, 8 t, could overflow.
        check_interval("(0, 60] degrees", angle=self.angle)

    def pair_loss(self, s, positive, negative):
        t = math.tan(math.radians(self.angle)) ** 2
        apart = as_weights(negative) * ops.exp(4 * t * s)  # at most e^12
        both = ops.matmul(apart, ops.transpose(apart))  # (B, B): sums over n
        some = both > 0
        rivals = ops.where(some, ops.log(ops.where(some, both, ops.ones_like(both))), -float("inf"))
        return mean_over(ops.softplus(rivals - 2 * (1 + t) * s), positive)
