"""Pairs of the triplets that violate a margin."""

from dataclasses import dataclass

from dml._options import check_at_least, check_known
from dml.miners._triplets import triplet_counts
from dml.miners.base import MINERS, Miner
from dml.ops import keep

_KINDS = ("all", "semi_hard")


@MINERS.register("triplet_margin")
@dataclass(frozen=True)
class TripletMarginMiner(Miner):
    """Keeps the pairs that are part of a triplet which violates a margin.

    A triplet violates it if its negative is less similar than its positive by less than `margin`,
    or more similar; `semi_hard` triplets have a negative that is less similar. All triplets are
    counted in O(B^2 log B) time, without listing them.

    Args:
        margin: In cosine. At least 0; 0.2 in pytorch-metric-learning.
        kind: `all` or `semi_hard`.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.TripletMarginMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False, False, False],
               [False, False,  True, False],
               [False,  True, False, False],
               [False, False, False, False]])

    References:
        - [Schroff et al., CVPR 2015](https://arxiv.org/abs/1503.03832)
    """

    margin: float = 0.2
    kind: str = "all"

    def __post_init__(self):
        check_at_least(0, margin=self.margin)
        check_known(_KINDS, kind=self.kind)

    def mine(self, similarities, positive, negative):
        counts = triplet_counts(-similarities, positive, negative, self.margin, self.kind)
        # Weights are sums of products, whose differences may be slightly different from 0.
        return keep(positive, counts[0] > 1e-4), keep(negative, counts[1] > 1e-4)
