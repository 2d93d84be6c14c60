"""Supervised contrastive loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_positive
from dml.losses.base import LOSSES, PairLoss
from dml.ops import log_sum_exp, mean_over, present


@LOSSES.register("sup_con")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SupCon(PairLoss):
    """Classifies each positive of an anchor among all others of the batch.

    With s the cosine of two embeddings and A all others of the batch, the mean over the anchors
    that have a positive of the mean over their positives of

        -log( exp(s(pair) / temperature) / sum over A of exp(s / temperature) )

    This is the paper's "out" form, the mean of logarithms, which the paper finds to be better.
    Needs several images of each class in a batch, and large batches.

    Args:
        temperature: Temperature of the softmax. Positive; 0.1 in the paper. Higher is smoother.

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
        >>> round(float(dml.losses.SupCon()(labels, x)), 3)
        0.967

    References:
        - [Khosla et al., NeurIPS 2020](https://arxiv.org/abs/2004.11362)
    """

    temperature: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    def pair_loss(self, similarities, positive, negative):
        logits = similarities / self.temperature
        everyone = ops.logical_or(present(positive), present(negative))
        total = log_sum_exp(logits, everyone, axis=1)
        valid = ops.any(present(positive), axis=1)
        total = ops.where(valid, total, ops.zeros_like(total))
        own = mean_over(logits, positive, axis=1)
        return mean_over(total - own, valid)
