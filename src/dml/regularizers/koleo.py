"""Kozachenko-Leonenko entropy."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from dml._options import check_at_least
from dml.ops import ratio, squared
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("koleo")
@dataclass(frozen=True)
class KoLeo(Regularizer):
    """Pushes each embedding away from its nearest one in the batch, so that they fill the sphere.

    The mean over the batch of -log(distance to the nearest other). Duplicates, which float32 can't
    distinguish, are left out: they have no direction to move in.

    Args:
        weight: Factor. At least 0; 0.1 here (the paper compares 0.01 to 1).

    Call arguments:
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar, at least -0.7 times weight.

    Raises:
        OptionError: `weight` is negative.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> round(float(dml.regularizers.KoLeo()(x)), 4)
        0.0343

    References:
        - [Sablayrolles et al., ICLR 2019](https://arxiv.org/abs/1806.03198)
    """

    weight: float = 0.1
    acts_on: ClassVar[str] = "embeddings"

    def __post_init__(self):
        check_at_least(0, weight=self.weight)

    def __call__(self, embeddings):
        itself = ops.eye(ops.shape(embeddings)[0], dtype="bool")
        nearest = ops.amin(ops.where(itself, 1e9, squared(embeddings, embeddings)), axis=1)
        counted = (nearest > 0) & (nearest < 1e8)  # not alone in the batch
        logs = 0.5 * ops.log(ops.where(counted, nearest, ops.ones_like(nearest)))
        return self.weight * -ratio(ops.sum(logs), ops.sum(ops.cast(counted, logs.dtype)))
