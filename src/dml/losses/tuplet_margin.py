"""Tuplet margin loss (Yu and Tao, ICCV 2019)."""

import math
from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_interval, check_positive
from dml.losses.base import LOSSES, PairLoss
from dml.ops import log_sum_exp, mean_over


def _turned_nearer(cosines, angle):
    """Returns the cosines of angles decreased by `angle` radians.

    cos(theta - angle) without the inverse cosine, whose gradient is infinite at 1 and -1; there
    the sine counts as 1e-3.
    """
    sines = ops.sqrt(ops.maximum(1.0 - ops.square(cosines), 1e-6))
    return math.cos(angle) * cosines + math.sin(angle) * sines


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
        ValueError: An option is out of its range.
    """

    slack: float = 5.73
    scale: float = 64.0

    def __post_init__(self):
        super().__post_init__()
        check_interval("[0, 90] degrees", slack=self.slack)
        check_positive(scale=self.scale)

    def pair_loss(self, s, positive, negative):
        rivals = log_sum_exp(self.scale * s, negative, axis=1)[:, None]
        pulled = self.scale * _turned_nearer(s, math.radians(self.slack))
        return mean_over(ops.softplus(rivals - pulled), positive)
