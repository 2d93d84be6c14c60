"""Lifted structured feature embedding."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml._options import check_at_least
from dml.errors import OptionError
from dml.losses.base import LOSSES, DistanceLoss
from dml.ops import log_sum_exp, mean_over


@LOSSES.register("lifted_structure")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class LiftedStructure(DistanceLoss):
    """Contrasts each positive pair with all negatives of both of its images.

    With d the distance of two embeddings, half the mean over the positive pairs (i, j) of
    max(0, J)^2, where

        J = log(sum over negatives of i and of j of exp(margin - d)) + d(i, j)

    Args:
        margin: Margin, in units of the distance. At least 0; 1 in the paper.
        distance: `euclidean` (paper), or another symmetric one of `dml.ops.distances`.

    Call arguments:
        labels: Integers (B,), or a symmetric relation (B, B).
        embeddings: Floats (B, D).

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.LiftedStructure()(labels, x)), 3)
        2.483

    References:
        - [Oh Song et al., CVPR 2016](https://arxiv.org/abs/1511.06452)
    """

    margin: float = 1.0
    distance: str = "euclidean"
    both_ends: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, margin=self.margin)
        if self.distance == "snr":
            raise OptionError("distance", f"must be symmetric; got {self.distance!r}")

    def pair_loss(self, d, positive, negative):
        nearest = log_sum_exp(self.margin - d, negative, axis=1)
        # If one image of a pair has no negatives at all, neither has the other.
        low = ops.maximum(nearest, -1e4)
        ends = ops.logaddexp(low[:, None], low[None, :])
        return 0.5 * mean_over(ops.square(ops.relu(ends + d)), positive)
