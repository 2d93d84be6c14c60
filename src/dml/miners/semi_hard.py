"""Pairs of semi-hard triplets."""

from dataclasses import dataclass

from dml._options import check_positive
from dml.miners.base import MINERS, Miner
from dml.miners.triplet_margin import TripletMarginMiner


@MINERS.register("semi_hard")
@dataclass(frozen=True)
class SemiHardMiner(Miner):
    """Keeps the pairs that are part of a semi-hard triplet.

    Its negative is less similar than its positive, by less than `margin`.

    Args:
        margin: In cosine. Positive; 0.1 here, half the paper's 0.2 in squared distance.

    Raises:
        OptionError: `margin` is not positive.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.SemiHardMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False, False, False],
               [False, False, False, False],
               [False, False, False, False],
               [False, False, False, False]])

    References:
        - [Schroff et al., CVPR 2015](https://arxiv.org/abs/1503.03832)
    """

    margin: float = 0.1

    def __post_init__(self):
        check_positive(margin=self.margin)

    def mine(self, similarities, positive, negative):
        chooser = TripletMarginMiner(margin=self.margin, kind="semi_hard")
        return chooser.mine(similarities, positive, negative)
