"""Pairs on the wrong side of a similarity."""

from dataclasses import dataclass

from dml._options import check_within
from dml.miners.base import MINERS, Miner
from dml.ops import keep


@MINERS.register("pair_margin")
@dataclass(frozen=True)
class PairMarginMiner(Miner):
    """Keeps positive pairs below one similarity and negative pairs above another.

    Args:
        positive_similarity: Positive pairs above it are left out. In [-1, 1]; 0.8 in
            pytorch-metric-learning.
        negative_similarity: Negative pairs below it are left out. In [-1, 1]; 0.2 there.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.PairMarginMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False,  True, False],
               [False, False,  True,  True],
               [ True,  True, False, False],
               [False,  True, False, False]])
    """

    positive_similarity: float = 0.8
    negative_similarity: float = 0.2

    def __post_init__(self):
        check_within(
            -1,
            1,
            positive_similarity=self.positive_similarity,
            negative_similarity=self.negative_similarity,
        )

    def mine(self, similarities, positive, negative):
        return (
            keep(positive, similarities < self.positive_similarity),
            keep(negative, similarities > self.negative_similarity),
        )
