"""Histogram loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_integer
from dml.losses.base import LOSSES, PairLoss
from dml.ops import ratio, soft_histogram


@LOSSES.register("histogram")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Histogram(PairLoss):
    """Lowers the chance that a random negative pair is more similar than a random positive one.

    The cosines of the batch's positive and negative pairs are gathered into two soft histograms,
    h+ and h-, each of sum 1, over `bins` + 1 centres in [-1, 1]; the loss is

        sum over bins r of h-(r) * sum over bins q <= r of h+(q)

    There is no margin to choose. 0 if the batch has only one kind of pair.

    Args:
        bins: Number of bins. Positive; 100 in the paper (a step of 0.02; it found 0.01 to 0.1
            alike).

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
        >>> round(float(dml.losses.Histogram()(labels, x)), 3)
        0.25

    References:
        - [Ustinova and Lempitsky, NIPS 2016](https://arxiv.org/abs/1611.00822)
    """

    bins: int = 100

    def __post_init__(self):
        super().__post_init__()
        check_integer(1, bins=self.bins)

    def pair_loss(self, s, positive, negative):
        own, rest = (
            ops.sum(soft_histogram(s, mask, -1.0, 1.0, self.bins), axis=0)
            for mask in (positive, negative)
        )
        own, rest = ratio(own, ops.sum(own)), ratio(rest, ops.sum(rest))
        return ops.sum(rest * ops.cumsum(own))
