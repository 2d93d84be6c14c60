"""Soft nearest neighbour loss (Frosst et al., ICML 2019, arXiv 1902.01889)."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_positive
from dml.losses.base import LOSSES, DistanceLoss
from dml.ops import log_sum_exp, mean_over, present


@LOSSES.register("soft_nearest_neighbour")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SoftNearestNeighbour(DistanceLoss):
    """Raises the chance that a neighbour drawn by nearness is of the anchor's class.

    With d the distance of two embeddings, the mean over the anchors that have a positive of

        -log( sum over positives of exp(-d / temperature)
              / sum over all others of exp(-d / temperature) )

    It needs one near positive, not all: classes may stay in several clusters.

    Args:
        temperature: Temperature of the softmax. Positive. 0.1 here, for embeddings of length 1; the
            paper lets it be learned for embeddings of any length.
        distance: `squared` (paper), or another of `dml.ops.distances`.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0.

    Raises:
        ValueError: An option is out of its range.
    """

    temperature: float = 0.1
    distance: str = "squared"

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    def pair_loss(self, d, positive, negative):
        return own_against_rest(-d / self.temperature, positive, negative)


def own_against_rest(logits, positive, negative):
    """Returns the mean over anchors of -log(sum over positives of e^x / sum over all of e^x).

    Anchors without positives are left out.
    """
    valid = ops.any(present(positive), axis=1)
    sums = (log_sum_exp(logits, mask, axis=1) for mask in (positive, negative))
    own, rest = (ops.where(valid, x, ops.zeros_like(x)) for x in sums)
    return mean_over(ops.softplus(rest - own), valid)
