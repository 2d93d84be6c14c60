"""Ranked list loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_positive, check_within
from dml.errors import OptionError
from dml.losses.base import LOSSES, DistanceLoss
from dml.ops import as_weights, keep, log_sum_exp, mean_over, present


@LOSSES.register("ranked_list")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class RankedList(DistanceLoss):
    """Gathers each class in a ball and keeps other classes out of a larger one, nearest first.

    With d the distance of two embeddings, the mean over anchors of
    (1 - balance) pull + balance push, where

        pull = mean over the positives with d > boundary - margin of d - (boundary - margin)
        push = sum over the negatives with d < boundary of w (boundary - d)

    and w, constants for the gradient, are shares in proportion to exp(temperature (boundary - d)).

    Args:
        boundary: Distance beyond which negatives have no loss, alpha in the paper. Positive; 1.2.
        margin: Width of the shell between positives and negatives, m in the paper. In
            [0, boundary]; 0.4.
        temperature: Sharpness among negatives, T in the paper. At least 0; 10.
        balance: Weight of the negatives, lambda in the paper. In [0, 1]; 0.5.
        distance: `euclidean` (paper), or another of `dml.ops.distances`.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.RankedList()(labels, x)), 3)
        0.305

    References:
        - [Wang et al., CVPR 2019](https://arxiv.org/abs/1903.03238)
    """

    boundary: float = 1.2
    margin: float = 0.4
    temperature: float = 10.0
    balance: float = 0.5
    distance: str = "euclidean"

    def __post_init__(self):
        super().__post_init__()
        check_positive(boundary=self.boundary)
        check_within(0, 1, balance=self.balance)
        if not 0 <= self.margin <= self.boundary:
            raise OptionError(
                "margin", f"must be in [0, boundary], [0, {self.boundary}]; got {self.margin}"
            )
        check_at_least(0, temperature=self.temperature)

    def pair_loss(self, d, positive, negative):
        off = d - (self.boundary - self.margin)
        pull = mean_over(off, keep(positive, off > 0), axis=1)
        near = self.boundary - d
        inside = keep(negative, near > 0)
        sharp = self.temperature * ops.stop_gradient(near)
        total = log_sum_exp(sharp, inside, axis=1)[:, None]
        some = ops.any(present(inside), axis=1)[:, None]
        shares = ops.exp(ops.where(some & present(inside), sharp - total, -float("inf")))
        push = ops.sum(shares * as_weights(inside) * near, axis=1)
        return ops.mean((1 - self.balance) * pull + self.balance * push)
