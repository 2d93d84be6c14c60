"""Zero-mean embeddings."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from dml._options import check_at_least
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("zero_mean")
@dataclass(frozen=True)
class ZeroMean(Regularizer):
    """Pulls the sum of each embedding's entries to 0, by the mean of its absolute value.

    The signal-to-noise losses assume it.

    Args:
        weight: Factor. At least 0; 0.1 here.

    Call arguments:
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: `weight` is negative.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> round(float(dml.regularizers.ZeroMean()(x)), 4)
        0.1133

    References:
        - [Yuan et al., CVPR 2019](https://arxiv.org/abs/1904.02616)
    """

    weight: float = 0.1
    acts_on: ClassVar[str] = "embeddings"

    def __post_init__(self):
        check_at_least(0, weight=self.weight)

    def __call__(self, embeddings):
        return self.weight * ops.mean(ops.abs(ops.sum(embeddings, axis=1)))
