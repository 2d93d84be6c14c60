"""Pairs spread evenly over similarities."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_integer
from dml.miners.base import MINERS, Miner
from dml.ops import as_weights, present


@MINERS.register("uniform_histogram")
@dataclass(frozen=True)
class UniformHistogramMiner(Miner):
    """Weights pairs so that each bin of similarities has at most a given total weight.

    Similarities fall into `bins` equal bins over [-1, 1], separately for positives and negatives; a
    pair in a bin with n pairs has the weight min(1, per_bin / n). pytorch-metric-learning draws
    `per_bin` pairs of each bin; weights are the expectation of the draws, without their noise.

    Args:
        bins: Positive; 100 in pytorch-metric-learning.
        per_bin: Positive; 25 there.

    Raises:
        OptionError: An option is not positive.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.UniformHistogramMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.shape(negative)
        (4, 4)
    """

    bins: int = 100
    per_bin: int = 25

    def __post_init__(self):
        check_integer(1, bins=self.bins, per_bin=self.per_bin)

    def mine(self, similarities, positive, negative):
        places = ops.clip(
            (ops.stop_gradient(similarities) + 1.0) * (self.bins / 2), 0, self.bins - 1
        )
        places = ops.cast(ops.floor(places), "int32")
        return tuple(self.evened(places, mask) for mask in (positive, negative))

    def evened(self, places, mask):
        there = ops.cast(present(mask), "float32")
        counts = ops.segment_sum(ops.reshape(there, (-1,)), ops.reshape(places, (-1,)), self.bins)
        share = ops.minimum(1.0, self.per_bin / ops.maximum(counts, 1.0))
        return as_weights(mask) * ops.take(share, places)
