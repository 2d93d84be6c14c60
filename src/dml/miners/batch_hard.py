"""The hardest pairs of each anchor."""

from dataclasses import dataclass

from dml.miners.base import MINERS, Miner
from dml.miners.batch_easy_hard import BatchEasyHardMiner


@MINERS.register("batch_hard")
@dataclass(frozen=True)
class BatchHardMiner(Miner):
    """Keeps each anchor's least similar positive and most similar negative.

    Effective, but unstable at the start of training, where it can collapse all embeddings to one
    point. An anchor without both kinds keeps nothing; tied pairs are all kept.

    Example:
        >>> x = keras.ops.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]])
        >>> similarities = keras.ops.matmul(x, keras.ops.transpose(x))
        >>> positive, negative = dml.miners.BatchHardMiner()([0, 0, 1, 1], similarities)
        >>> keras.ops.convert_to_numpy(negative)
        array([[False, False,  True, False],
               [False, False,  True, False],
               [False,  True, False, False],
               [False,  True, False, False]])

    References:
        - [Hermans et al., 2017](https://arxiv.org/abs/1703.07737)
    """

    def mine(self, similarities, positive, negative):
        return BatchEasyHardMiner().mine(similarities, positive, negative)
