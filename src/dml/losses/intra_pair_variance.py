"""Intra-pair variance."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least
from dml.losses.base import LOSSES, PairLoss
from dml.ops import mean_over


@LOSSES.register("intra_pair_variance")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class IntraPairVariance(PairLoss):
    """Pulls outlying positive pairs up, and outlying negative pairs down, to the mean of their
    kind.

    With s the cosine of two embeddings, the mean over positive pairs plus that over negative ones:

        max(0, (1 - positive_slack) mean(s) - s)^2      max(0, s - (1 + negative_slack) mean(s))^2

    It does not determine the means: use it with another loss, in the paper
    `tuplet_margin`.

    Args:
        positive_slack: At least 0; 0.01 in the paper.
        negative_slack: At least 0; 0.01 in the paper.

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
        >>> round(float(dml.losses.IntraPairVariance()(labels, x)), 3)
        0.044

    References:
        - [Yu and Tao, ICCV 2019](https://openaccess.thecvf.com/content_ICCV_2019/html/Yu_Deep_Metric_Learning_With_Tuplet_Margin_Loss_ICCV_2019_paper.html)
    """

    positive_slack: float = 0.01
    negative_slack: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, positive_slack=self.positive_slack, negative_slack=self.negative_slack)

    def pair_loss(self, s, positive, negative):
        low = (1 - self.positive_slack) * mean_over(s, positive)
        high = (1 + self.negative_slack) * mean_over(s, negative)
        pull = mean_over(ops.square(ops.relu(low - s)), positive)
        return pull + mean_over(ops.square(ops.relu(s - high)), negative)
