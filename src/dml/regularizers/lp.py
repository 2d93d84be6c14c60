"""Norms of embeddings."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from dml._options import check_at_least
from dml.regularizers.base import REGULARIZERS, Regularizer


@REGULARIZERS.register("lp")
@dataclass(frozen=True)
class Lp(Regularizer):
    """Adds the mean p-norm of the embeddings, to the power of p.

    Embeddings have length 1, so power 2 adds a constant; power 1 makes them sparse, with fewer and
    larger nonzero entries.

    Args:
        weight: Factor. At least 0; 0.01 here.
        power: p. At least 1; 1 here.

    Call arguments:
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
        >>> round(float(dml.regularizers.Lp()(x)), 4)
        0.0113
    """

    weight: float = 0.01
    power: float = 1.0
    acts_on: ClassVar[str] = "embeddings"

    def __post_init__(self):
        check_at_least(0, weight=self.weight)
        check_at_least(1, power=self.power)

    def __call__(self, embeddings):
        sizes = ops.abs(embeddings)
        powers = sizes if self.power == 1 else ops.power(ops.maximum(sizes, 1e-12), self.power)
        return self.weight * ops.mean(ops.sum(powers, axis=1))
