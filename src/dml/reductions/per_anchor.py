"""The mean over all anchors."""

from dataclasses import dataclass

from keras import ops

from dml.reductions.base import REDUCTIONS, Reduction


@REDUCTIONS.register("per_anchor")
@dataclass(frozen=True)
class PerAnchor(Reduction):
    """The mean over all anchors of the loss that each has alone, those without any among them.

    A loss's own mean is often over pairs or triplets: there an anchor with many counts for many.
    Here each counts once, as in pytorch-metric-learning's PerAnchorReducer.
    """

    def __call__(self, values, same):
        return ops.mean(values)
