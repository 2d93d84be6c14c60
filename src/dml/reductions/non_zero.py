"""The mean over the anchors that still cost something."""

from dataclasses import dataclass

from dml.ops import mean_over
from dml.reductions.base import REDUCTIONS, Reduction


@REDUCTIONS.register("non_zero")
@dataclass(frozen=True)
class NonZero(Reduction):
    """The mean over the anchors whose own loss is above 0; 0 when there is none.

    So the few that are still wrong late in a training are not lost among the many that are right.
    """

    def __call__(self, values, same):
        return mean_over(values, values > 0)
