"""Pairwise sigmoid loss (SigLIP)."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_finite, check_positive
from dml.losses.base import LOSSES, PairLoss
from dml.ops import as_weights


@LOSSES.register("pairwise_sigmoid")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class PairwiseSigmoid(PairLoss):
    """Classifies every pair independently as positive or negative.

    With s the cosine of two embeddings and y = 1 for positive pairs and -1 for negative ones,
    the sum over all pairs, divided by the number of anchors, of

        log(1 + exp(-y (scale s + bias)))

    There is no softmax over the batch, so that the pairs of a large batch can be processed in
    parts. The paper learns scale and bias, starting from these values; here they are constant.

    Args:
        scale: Factor of the cosines. Positive; 10 at the start in the paper.
        bias: Added to them. Finite; -10 at the start in the paper, so that pairs are first
            classified as negative, as nearly all are.

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
        >>> round(float(dml.losses.PairwiseSigmoid()(labels, x)), 3)
        2.402

    References:
        - [Zhai et al., ICCV 2023](https://arxiv.org/abs/2303.15343)
    """

    scale: float = 10.0
    bias: float = -10.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale)
        check_finite(bias=self.bias)

    def pair_loss(self, similarities, positive, negative):
        logits = self.scale * similarities + self.bias
        pull = as_weights(positive) * ops.softplus(-logits)
        push = as_weights(negative) * ops.softplus(logits)
        return ops.mean(ops.sum(pull + push, axis=1))
