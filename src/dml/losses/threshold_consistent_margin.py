"""Threshold-consistent margin."""

from dataclasses import dataclass

import keras

from dml._options import check_at_least, check_within
from dml.losses.base import LOSSES, PairLoss
from dml.ops import keep, mean_over


@LOSSES.register("threshold_consistent_margin")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class ThresholdConsistentMargin(PairLoss):
    """Pulls positive pairs above one similarity, and pushes negative pairs below another.

    With s the cosine of two embeddings, positive_weight times the mean, over the positive pairs
    with s <= positive_similarity, of positive_similarity - s, plus negative_weight times the mean,
    over the negative pairs with s >= negative_similarity, of s - negative_similarity.

    It lets one threshold serve all classes. It is meant for use with another loss. The defaults are
    those of pytorch-metric-learning.

    Args:
        positive_similarity: m+ in the paper. In [-1, 1]; 0.9.
        negative_similarity: m- in the paper. In [-1, 1]; 0.5.
        positive_weight: Weight of the positive pairs. At least 0; 1.
        negative_weight: Weight of the negative pairs. At least 0; 1.

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
        >>> round(float(dml.losses.ThresholdConsistentMargin()(labels, x)), 3)
        0.32

    References:
        - [Zhang et al., ICLR 2024](https://arxiv.org/abs/2307.04047)
    """

    positive_similarity: float = 0.9
    negative_similarity: float = 0.5
    positive_weight: float = 1.0
    negative_weight: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_within(
            -1,
            1,
            positive_similarity=self.positive_similarity,
            negative_similarity=self.negative_similarity,
        )
        check_at_least(
            0, positive_weight=self.positive_weight, negative_weight=self.negative_weight
        )

    def pair_loss(self, s, positive, negative):
        low, high = self.positive_similarity - s, s - self.negative_similarity
        pull = mean_over(low, keep(positive, low >= 0))
        push = mean_over(high, keep(negative, high >= 0))
        return self.positive_weight * pull + self.negative_weight * push
