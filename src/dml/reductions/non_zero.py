"""The mean over the anchors with a nonzero loss."""

from dataclasses import dataclass

from dml.ops import mean_over
from dml.reductions.base import REDUCTIONS, Reduction


@REDUCTIONS.register("non_zero")
@dataclass(frozen=True)
class NonZero(Reduction):
    """The mean over the anchors whose own loss is above 0; 0 when there is none.

    Late in training, the few anchors that are still wrong are not averaged away by the many that
    are right.
    """

    def __call__(self, values, same):
        return mean_over(values, values > 0)
