"""The mean over all anchors."""

from dataclasses import dataclass

from keras import ops

from dml.reductions.base import REDUCTIONS, Reduction


@REDUCTIONS.register("per_anchor")
@dataclass(frozen=True)
class PerAnchor(Reduction):
    """The mean over all anchors of each one's own loss, including those with none.

    A loss's own mean is often over pairs or triplets, so that anchors with many of them have more
    weight. Here each anchor counts once, as in pytorch-metric-learning's PerAnchorReducer.
    """

    def __call__(self, values, same):
        return ops.mean(values)
