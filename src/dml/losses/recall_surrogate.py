"""Recall@k surrogate."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_counts, check_positive
from dml.losses._soft_counts import count_above, nearer, without_itself
from dml.losses.base import LOSSES, PairLoss
from dml.ops import as_weights, mean_over, present, ratio


@LOSSES.register("recall_surrogate")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class RecallSurrogate(PairLoss):
    """Raises recall@k itself, with soft ranks and a soft threshold at k.

    With r the soft rank of a positive, 1 plus the sum over all others of
    sigmoid((s_other - s_positive) / rank_temperature), and P the anchor's positives, the loss is 1
    less the mean, over the ks and the anchors with a positive, of

        min(k, sum over P of sigmoid((k - r) / recall_temperature)) / min(k, |P|)

    The anchor is not among the others, as in the paper, where a query is not in its database; in
    the authors' code it is, which adds nearly 1 to every rank. Takes O(B^3) memory. The paper's
    batches hold 4 images of each class, and up to 4000.

    Args:
        ks: The k of recall@k. Positive; 1, 2, 4, 8, 16 in the paper.
        rank_temperature: Temperature of the ranks. Positive; 0.01 in the paper.
        recall_temperature: Temperature of the threshold. Positive; 1 in the paper.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar in [0, 1].

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.RecallSurrogate()(labels, x)), 3)
        0.217

    References:
        - [Patel et al., CVPR 2022](https://arxiv.org/abs/2108.11179)
    """

    ks: tuple[int, ...] = (1, 2, 4, 8, 16)
    rank_temperature: float = 0.01
    recall_temperature: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        self.ks = tuple(self.ks)
        check_counts(ks=self.ks)
        check_positive(
            rank_temperature=self.rank_temperature, recall_temperature=self.recall_temperature
        )

    def pair_loss(self, s, positive, negative):
        above = nearer(s, self.rank_temperature)
        ranks = 1.0 + count_above(above, without_itself(positive)) + count_above(above, negative)
        share = as_weights(positive)
        positives = ops.sum(share, axis=1)
        recall = 0.0
        for k in self.ks:
            found = ops.sum(share * ops.sigmoid((k - ranks) / self.recall_temperature), axis=1)
            recall += ratio(ops.minimum(found, float(k)), ops.minimum(positives, float(k)))
        return mean_over(1.0 - recall / len(self.ks), ops.any(present(positive), axis=1))
