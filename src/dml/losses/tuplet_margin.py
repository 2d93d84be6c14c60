"""Tuplet margin loss."""

import math
from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_interval, check_positive
from dml.losses._margin_softmax import turned
from dml.losses.base import LOSSES, PairLoss
from dml.ops import log_sum_exp, mean_over


@LOSSES.register("tuplet_margin")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class TupletMargin(PairLoss):
    """Contrasts each positive pair, with slack in its angle, with all negatives of its anchor.

    With theta the angle of two embeddings, the mean over the positive pairs of

        log(1 + sum over negatives n of exp(scale (cos theta_n - cos(theta_pair - slack))))

    The slack ignores positives that are near enough, to avoid overfitting to the nearest ones.

    Args:
        slack: Angle beta in the paper, in degrees. In [0, 90]; 5.73 (0.1 rad) in
            pytorch-metric-learning.
        scale: Factor of the cosines. Positive; 64 in the paper.

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
        >>> round(float(dml.losses.TupletMargin()(labels, x)), 3)
        3.332

    References:
        - [Yu and Tao, ICCV 2019](https://openaccess.thecvf.com/content_ICCV_2019/html/Yu_Deep_Metric_Learning_With_Tuplet_Margin_Loss_ICCV_2019_paper.html)
    """

    slack: float = 5.73
    scale: float = 64.0

    def __post_init__(self):
        super().__post_init__()
        check_interval("[0, 90] degrees", slack=self.slack)
        check_positive(scale=self.scale)

    def pair_loss(self, s, positive, negative):
        rivals = log_sum_exp(self.scale * s, negative, axis=1)[:, None]
        pulled = self.scale * turned(s, -math.radians(self.slack))
        return mean_over(ops.softplus(rivals - pulled), positive)
