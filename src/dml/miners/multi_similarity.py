"""The miner of the Multi-Similarity loss."""

from dataclasses import dataclass

from keras import ops

from dml._options import check_at_least
from dml.miners.base import MINERS, Miner
from dml.ops import keep, present


@MINERS.register("multi_similarity")
@dataclass(frozen=True)
class MultiSimilarityMiner(Miner):
    """Keeps the pairs of an anchor that are hard relative to its pairs of the other kind.

    A negative is kept when it is more similar than the least similar positive less `epsilon`, a
    positive when it is less similar than the most similar negative plus `epsilon`. An anchor
    without positives or without negatives keeps none.

    Args:
        epsilon: Slack in similarity; at least 0. 0.1 in the paper; infinity keeps every pair.

    Raises:
        OptionError: `epsilon` is negative.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.MultiSimilarityMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False, False, False],
               [False, False,  True, False],
               [False,  True, False, False],
               [False, False, False, False]])

    References:
        - [Wang et al., CVPR 2019](https://arxiv.org/abs/1904.06627), section 4.1
    """

    epsilon: float = 0.1

    def __post_init__(self):
        check_at_least(0, finite=False, epsilon=self.epsilon)

    def mine(self, similarities, positive, negative):
        nowhere = float("inf")
        farthest = ops.amin(ops.where(present(positive), similarities, nowhere), 1, keepdims=True)
        nearest = ops.amax(ops.where(present(negative), similarities, -nowhere), 1, keepdims=True)
        # For an anchor without the other kind, the bound is infinite and it keeps none.
        return (
            keep(positive, similarities < nearest + self.epsilon),
            keep(negative, similarities > farthest - self.epsilon),
        )
