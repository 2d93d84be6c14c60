"""The mean over the batch's classes."""

from dataclasses import dataclass

from keras import ops

from dml.reductions.base import REDUCTIONS, Reduction


@REDUCTIONS.register("class_weighted")
@dataclass(frozen=True)
class ClassWeighted(Reduction):
    """The mean over the batch's classes of the mean over each one's anchors.

    Classes with many and with few images in the batch have the same weight, so no class weights are
    needed.

    Example:
        >>> values = keras.ops.array([1.0, 2.0, 6.0])  # of two anchors of one class, and one other
        >>> same = keras.ops.array([2.0, 2.0, 1.0])
        >>> float(dml.reductions.ClassWeighted()(values, same))
        3.75
    """

    def __call__(self, values, same):
        return ops.sum(values / same) / ops.sum(1.0 / same)
