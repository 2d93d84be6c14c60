"""Penalising negatives before positives."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_known, check_positive
from dml.losses._soft_counts import count_above, mean_of_anchors, nearer
from dml.losses.base import LOSSES, PairLoss

_VARIANTS = ("O", "Iu", "Ib", "Ds", "Dq")


@LOSSES.register("pnp")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class PNP(PairLoss):
    """Penalises the negatives that rank before each positive, the positives' own order not at all.

    With R the soft number of negatives before a positive j, the sum of
    sigmoid((s_negative - s_j) / temperature), the mean, over the anchors with a positive and over
    their positives, of one of

        O: R    Iu: (1 + R) log(1 + R)    Ib: (b R - log(1 + b R)) / b^2
        Ds: log(1 + R)    Dq: 1 - (1 + R)^-power

    The I forms push positives with many negatives before them more, the D forms less, since such
    positives may show another appearance of the class or be mislabelled. The anchor itself is not a
    positive; the authors' code counts it as one, without negatives before it. Takes O(B^3) memory.

    Args:
        variant: `Dq`, the paper's best, `Ds`, `O`, `Iu` or `Ib`.
        temperature: Temperature of the sigmoid. Positive; 0.01 in the paper.
        power: alpha in the paper, of `Dq`. Positive; 4 in the paper, 1 in pytorch-metric-learning.
        b: Constant of `Ib`. Positive; 2 in pytorch-metric-learning.

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
        >>> round(float(dml.losses.PNP()(labels, x)), 3)
        0.469

    References:
        - [Li et al., 2021](https://arxiv.org/abs/2102.04640)
    """

    variant: str = "Dq"
    temperature: float = 0.01
    power: float = 4.0
    b: float = 2.0

    def __post_init__(self):
        super().__post_init__()
        check_known(_VARIANTS, variant=self.variant)
        check_positive(temperature=self.temperature, power=self.power, b=self.b)

    def pair_loss(self, s, positive, negative):
        before = count_above(nearer(s, self.temperature), negative)
        return mean_of_anchors(self.cost(before), positive)

    def cost(self, before):
        if self.variant == "O":
            return before
        if self.variant == "Iu":
            return (1.0 + before) * ops.log1p(before)
        if self.variant == "Ib":
            return (self.b * before - ops.log1p(self.b * before)) / self.b**2
        if self.variant == "Ds":
            return ops.log1p(before)
        return 1.0 - (1.0 + before) ** -self.power
