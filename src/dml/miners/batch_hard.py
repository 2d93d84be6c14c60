"""The hardest pairs of each anchor (Hermans et al., 2017, arXiv 1703.07737)."""

from dataclasses import dataclass

from dml.miners.base import MINERS, Miner
from dml.miners.batch_easy_hard import BatchEasyHardMiner


@MINERS.register("batch_hard")
@dataclass(frozen=True)
class BatchHardMiner(Miner):
    """Keeps each anchor's least similar positive and most similar negative.

    Effective, but unstable at the start of training, where it can collapse all embeddings to one
    point. An anchor without both kinds keeps nothing; tied pairs are all kept.
    """

    def mine(self, similarities, positive, negative):
        return BatchEasyHardMiner().mine(similarities, positive, negative)
