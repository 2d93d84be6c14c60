"""Centres of one length."""

from dataclasses import dataclass
from typing import ClassVar

from keras import ops

from dml._options import check_at_least
from dml.regularizers.base import REGULARIZERS, Regularizer

_LARGEST = 1e7  # entry: the fourth power of lengths stays below float32's largest


@REGULARIZERS.register("center_invariant")
@dataclass(frozen=True)
class CenterInvariant(Regularizer):
    """Pulls the proxies to a common length, so that all of them turn equally fast.

    A quarter of the mean squared difference between a proxy's squared length and the mean of all.
    Only a proxy's direction acts in the losses, but a longer one turns more slowly. Where an entry
    is beyond 1e7, all proxies are first scaled down by the same factor, to stay in the range of
    float32.

    Args:
        weight: Factor. At least 0; 0.1 here.

    Call arguments:
        raw_proxies: Floats (C, K, D), of any length.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: `weight` is negative.

    Example:
        >>> proxies = keras.ops.array([[[1.0, 0.0]], [[0.8, 0.6]]])
        >>> round(float(dml.regularizers.CenterInvariant()(proxies)), 4)
        0.0

    References:
        - Wu et al., Deep Face Recognition with Center Invariant Loss, ACM MM Workshops 2017
    """

    weight: float = 0.1
    acts_on: ClassVar[str] = "raw_proxies"

    def __post_init__(self):
        check_at_least(0, weight=self.weight)

    def __call__(self, raw_proxies):
        largest = ops.stop_gradient(ops.amax(ops.abs(raw_proxies)))
        shortened = ops.multiply(raw_proxies, _LARGEST / ops.maximum(largest, _LARGEST))
        squares = ops.sum(ops.square(shortened), axis=-1)
        return self.weight * 0.25 * ops.mean(ops.square(squares - ops.mean(squares)))
