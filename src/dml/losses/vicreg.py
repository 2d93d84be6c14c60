"""Variance, invariance, covariance (VICReg)."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import mean_over, pair_masks, squared


@LOSSES.register("vicreg")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class VICReg(MetricLoss):
    """Pulls positive pairs together, and keeps every dimension varied and uncorrelated.

    With z an embedding divided by `target_deviation`, the weighted sum of

        invariance: mean over positive pairs of the squared distance of their z, divided by D
        variance:   mean over dimensions of max(0, 1 - sqrt(variance of z + 1e-4))
        covariance: sum over pairs of dimensions of the squared covariance of z, divided by D

    Variance and covariance are over the batch. The paper has two views of each image, and takes
    these terms for each view; here views, or images of a class, are positive pairs of one batch.
    No negative pairs are compared, so batches may be small.

    Args:
        invariance_weight: lambda in the paper. At least 0; 25.
        variance_weight: mu in the paper. At least 0; 25.
        covariance_weight: nu in the paper. At least 0; 1.
        target_deviation: Target standard deviation of each dimension. At least 0; 1 in the paper
            for embeddings of any length. 0 uses 1 / sqrt(D), which embeddings of length 1 can
            reach.

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
        >>> round(float(dml.losses.VICReg()(labels, x)), 3)
        19.825

    References:
        - [Bardes et al., ICLR 2022](https://arxiv.org/abs/2105.04906)
    """

    invariance_weight: float = 25.0
    variance_weight: float = 25.0
    covariance_weight: float = 1.0
    target_deviation: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_at_least(
            0,
            invariance_weight=self.invariance_weight,
            variance_weight=self.variance_weight,
            covariance_weight=self.covariance_weight,
        )
        check_at_least(0, target_deviation=self.target_deviation)

    def batch_loss(self, labels, embeddings):
        dim = embeddings.shape[1]
        rows = ops.cast(ops.shape(embeddings)[0], "float32")
        positive, _ = pair_masks(labels)
        x = embeddings / (self.target_deviation or dim**-0.5)
        invariance = mean_over(squared(x, x), positive) / dim
        centred = x - ops.mean(x, axis=0)
        covariance = ops.matmul(ops.transpose(centred), centred) / ops.maximum(rows - 1.0, 1.0)
        variances = ops.diagonal(covariance)
        deviations = ops.sqrt(ops.maximum(variances, 0.0) + 1e-4)
        off_diagonal = ops.sum(ops.square(covariance)) - ops.sum(ops.square(variances))
        return (
            self.invariance_weight * invariance
            + self.variance_weight * ops.mean(ops.relu(1.0 - deviations))
            + self.covariance_weight * off_diagonal / dim
        )
