"""Multi-Similarity loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_positive, check_within
from dml.losses.base import LOSSES, PairLoss
from dml.miners.multi_similarity import MultiSimilarityMiner
from dml.ops import log1p_sum_exp, share_kept


@LOSSES.register("multi_similarity")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class MultiSimilarity(PairLoss):
    """Weights the mined pairs of the batch by their own similarity and by that of competing pairs.

    With s the similarity of two embeddings, P and N the anchor's pairs that the paper's miner
    keeps, and the mean over all B anchors:

        1/positive_scale log(1 + sum over P of exp(-positive_scale (s - base)))
      + 1/negative_scale log(1 + sum over N of exp( negative_scale (s - base)))

    A strong pair loss; it needs several images of each class in a batch (the authors: 16 classes of
    5). An anchor without any kept pair contributes 0 to the mean, as in the authors' code. That
    code excludes self-pairs by similarity, which drops exact duplicates too; here they are excluded
    by index.

    Args:
        positive_scale: Sharpness among positives, alpha in the paper. Positive; 2 in the code.
        negative_scale: Sharpness among negatives, beta in the paper. Positive; 40 in the code.
        base: Similarity at which a pair starts to matter, lambda in the paper; in [-1, 1]. 0.5 in
            the authors' code. The paper is quoted with beta 50 and lambda 1 (unverified), with
            which negatives below a similarity of 0.9 are hardly pushed.
        epsilon: Slack of the miner, at least 0; 0.1 in paper and code, infinity keeps all pairs.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.MultiSimilarity()(labels, x)), 3)
        0.339

    References:
        - [Wang et al., CVPR 2019](https://arxiv.org/abs/1904.06627)
    """

    positive_scale: float = 2.0
    negative_scale: float = 40.0
    base: float = 0.5
    epsilon: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_positive(positive_scale=self.positive_scale, negative_scale=self.negative_scale)
        check_within(-1, 1, base=self.base)
        self.miner = MultiSimilarityMiner(self.epsilon)

    def pair_loss(self, similarities, positive, negative):
        mined = self.miner.mine(ops.stop_gradient(similarities), positive, negative)
        above = similarities - self.base
        pull = log1p_sum_exp(-self.positive_scale * above, where=mined[0], axis=1)
        push = log1p_sum_exp(self.negative_scale * above, where=mined[1], axis=1)
        return ops.mean(pull / self.positive_scale + push / self.negative_scale)

    def pair_share(self, similarities, positive, negative):
        mined = self.miner.mine(similarities, positive, negative)
        return share_kept(mined, (positive, negative))
