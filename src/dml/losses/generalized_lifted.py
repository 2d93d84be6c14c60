"""Generalised lifted structure loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least
from dml.losses.base import LOSSES, DistanceLoss
from dml.ops import log_sum_exp, mean_over, present


@LOSSES.register("generalized_lifted")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class GeneralizedLifted(DistanceLoss):
    """Contrasts all positives of an anchor (softly, the farthest) with all its negatives.

    With d the distance of two embeddings, the mean over the anchors that have both kinds of

        max(0, log(sum over positives of exp(d)) + log(sum over negatives of exp(margin - d)))

    Args:
        margin: Margin, in units of the distance. At least 0; 1 is one of several in the paper.
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
        >>> round(float(dml.losses.GeneralizedLifted()(labels, x)), 3)
        1.494

    References:
        - [Hermans et al., 2017](https://arxiv.org/abs/1703.07737)
    """

    margin: float = 1.0
    distance: str = "euclidean"

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, margin=self.margin)

    def pair_loss(self, d, positive, negative):
        both = ops.any(present(positive), axis=1) & ops.any(present(negative), axis=1)
        sums = log_sum_exp(d, positive, 1), log_sum_exp(self.margin - d, negative, 1)
        farthest, nearest = (ops.where(both, s, ops.zeros_like(s)) for s in sums)
        return mean_over(ops.relu(farthest + nearest), both)
