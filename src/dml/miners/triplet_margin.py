"""Pairs of the triplets that violate a margin (Schroff et al., CVPR 2015)."""

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

    A triplet does where its negative is less than `margin` less similar than its positive; a
    semi-hard one where it is also less similar. Counted for all triplets in
    O(B^2 log B) time, none listed.

    Args:
        margin: In cosine. At least 0; 0.2 in pytorch-metric-learning.
        kind: `all` or `semi_hard`.

    Raises:
        ValueError: An option is out of its range.
    """

    margin: float = 0.2
    kind: str = "all"

    def __post_init__(self):
        check_at_least(0, margin=self.margin)
        check_known(_KINDS, kind=self.kind)

    def mine(self, similarities, positive, negative):
        counts = triplet_counts(-similarities, positive, negative, self.margin, self.kind)
        # Weights are sums of products: what is left of a difference of them may not be quite 0.
        return keep(positive, counts[0] > 1e-4), keep(negative, counts[1] > 1e-4)
