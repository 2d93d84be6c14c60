"""Easy positives with semi-hard negatives."""

from dataclasses import dataclass

from dml.miners.base import MINERS, Miner
from dml.miners.batch_easy_hard import BatchEasyHardMiner


@MINERS.register("easy_positive")
@dataclass(frozen=True)
class EasyPositiveMiner(Miner):
    """Keeps each anchor's most similar positive, and the most similar negative below it.

    Each image only has to be near one other image of its class, which suits classes with several
    appearances. An anchor without a positive, or without a negative below it, keeps nothing, as in
    the paper.

    References:
        - [Xuan et al., WACV 2020](https://arxiv.org/abs/1904.04370)
    """

    def mine(self, similarities, positive, negative):
        chooser = BatchEasyHardMiner(positives="easy", negatives="semi_hard")
        return chooser.mine(similarities, positive, negative)
