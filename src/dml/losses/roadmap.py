"""ROADMAP: SupAP with calibration."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_positive, check_within
from dml.losses._soft_counts import count_above, mean_of_anchors, without_itself
from dml.losses.base import LOSSES, PairLoss
from dml.ops import mean_over


@LOSSES.register("roadmap")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Roadmap(PairLoss):
    """Raises a lower bound of each anchor's average precision, and calibrates scores.

    SupAP counts the positives before a positive exactly (no gradient), and the negatives before
    it by an upper bound of the step function of x = s_negative - s_positive:

        sigmoid(x / temperature)                  x <= 0
        sigmoid(x / temperature) + 1/2            0 < x <= offset
        slope (x - offset) + its value at offset  offset < x, so that gradients don't vanish

    and is 1 less the mean of (1 + positives before) / (1 + positives + negatives before). The
    loss is (1 - calibration) SupAP + calibration times the mean over positive pairs of
    max(0, positive_similarity - s) plus the mean over negative ones of
    max(0, s - negative_similarity). The calibration makes scores comparable between batches, which
    ranks within a batch do not. Takes O(B^3) memory.

    Args:
        temperature: Temperature of the sigmoid. Positive; 0.01 in the paper.
        slope: rho in the paper. Positive; 100 in the paper.
        offset: delta in the paper. At least 0; 0.05 in the paper.
        calibration: Weight of the calibration, lambda in the paper. In [0, 1]; 0.5.
        positive_similarity: Target for positive pairs, a cosine. In [-1, 1]; 0.9 in the authors'
            code.
        negative_similarity: Limit for negative pairs, a cosine. In [-1, 1]; 0.6 in the authors'
            code.

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
        >>> round(float(dml.losses.Roadmap()(labels, x)), 3)
        0.326

    References:
        - [Ramzi et al., NeurIPS 2021](https://arxiv.org/abs/2110.01445)
    """

    temperature: float = 0.01
    slope: float = 100.0
    offset: float = 0.05
    calibration: float = 0.5
    positive_similarity: float = 0.9
    negative_similarity: float = 0.6

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature, slope=self.slope)
        check_at_least(0, offset=self.offset)
        check_within(0, 1, calibration=self.calibration)
        check_within(
            -1,
            1,
            positive_similarity=self.positive_similarity,
            negative_similarity=self.negative_similarity,
        )

    def pair_loss(self, s, positive, negative):
        gaps = s[:, None, :] - s[:, :, None]  # (anchor, j, k)
        exact = ops.cast(ops.stop_gradient(gaps) > 0, "float32")
        own = 1.0 + count_above(exact, without_itself(positive))
        rest = count_above(self.step_bound(gaps), negative)
        ranking = mean_of_anchors(1.0 - own / (own + rest), positive)
        pull = mean_over(ops.relu(self.positive_similarity - s), positive)
        push = mean_over(ops.relu(s - self.negative_similarity), negative)
        return (1 - self.calibration) * ranking + self.calibration * (pull + push)

    def step_bound(self, x):
        """Returns the upper bound of the step function at x."""
        soft = ops.sigmoid(ops.minimum(x, self.offset) / self.temperature)
        return soft + 0.5 * ops.cast(x > 0, x.dtype) + self.slope * ops.relu(x - self.offset)
