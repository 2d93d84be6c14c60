"""Barlow Twins."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least
from dml.losses.base import LOSSES, MetricLoss
from dml.ops import as_weights, pair_masks, ratio


@LOSSES.register("barlow_twins")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class BarlowTwins(MetricLoss):
    """Makes dimensions agree between positives, and decorrelates them from each other.

    With C the D x D matrix of correlations between an anchor's dimensions and its positives',

        sum over a of (1 - C_aa)^2 + redundancy_weight * sum over a != b of C_ab^2

    divided by D. Mean and standard deviation of a dimension are taken over the batch. The paper has
    two views of each image; here they, or images of a class, are positive pairs of one batch, taken
    both ways.

    Args:
        redundancy_weight: lambda in the paper. At least 0; 0.005.

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
        >>> round(float(dml.losses.BarlowTwins()(labels, x)), 3)
        0.511

    References:
        - [Zbontar et al., ICML 2021](https://arxiv.org/abs/2103.03230)
    """

    redundancy_weight: float = 0.005

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, redundancy_weight=self.redundancy_weight)

    def batch_loss(self, labels, embeddings):
        dim = embeddings.shape[1]
        pairs = as_weights(pair_masks(labels)[0])
        centred = embeddings - ops.mean(embeddings, axis=0)
        # A constant dimension is treated as having a standard deviation of 1e-3.
        x = centred * ops.rsqrt(ops.mean(ops.square(centred), axis=0) + 1e-6)
        together = ops.matmul(ops.transpose(x), ops.matmul(pairs, x))
        correlations = ratio(together, ops.sum(pairs))
        own = ops.diagonal(correlations)
        rest = ops.sum(ops.square(correlations)) - ops.sum(ops.square(own))
        return (ops.sum(ops.square(1.0 - own)) + self.redundancy_weight * rest) / dim
