"""Instance loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_positive
from dml.losses.base import LOSSES, PairLoss
from dml.ops import pair_masks, present


@LOSSES.register("instance")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Instance(PairLoss):
    """Treats each image as a class of its own, and spreads all images.

    With s the cosine of two embeddings, the mean over the batch of

        -log( exp(scale s(i, i)) / sum over the batch of exp(scale s(i, j)) )

    Positives are pushed apart like all others, so it is for use with another loss, or without
    labels. The paper classifies against learned weights of each image; like
    pytorch-metric-learning, this takes the batch's embeddings for them.

    Args:
        scale: Factor of the cosines, gamma in pytorch-metric-learning. Positive; 64 there.

    Call arguments:
        labels: Integers (B,), or a relation (B, B), of which only NaN (left out) is used.
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.Instance()(labels, x)), 3)
        0.037

    References:
        - [Zheng et al., ACM TOMM 2020](https://arxiv.org/abs/1711.05535)
    """

    scale: float = 64.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale)

    def batch_loss(self, labels, embeddings):
        positive, negative = pair_masks(labels)
        others = ops.logical_or(present(positive), present(negative))
        logits = self.scale * self.compare(embeddings, embeddings)
        own = ops.diagonal(logits)
        rivals = ops.logsumexp(ops.where(others, logits, -float("inf")), axis=1)
        return ops.mean(ops.softplus(rivals - own))
