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

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.EasyPositiveMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False,  True, False],
               [False, False, False,  True],
               [ True, False, False, False],
               [False,  True, False, False]])

    References:
        - [Xuan et al., WACV 2020](https://arxiv.org/abs/1904.04370)
    """

    def mine(self, similarities, positive, negative):
        chooser = BatchEasyHardMiner(positives="easy", negatives="semi_hard")
        return chooser.mine(similarities, positive, negative)
