"""Circle loss."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_positive, check_within
from dml.losses.base import LOSSES, PairLoss
from dml.ops import log_sum_exp, mean_over, present


@LOSSES.register("circle")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Circle(PairLoss):
    """Weighs each pair by how far it is from its optimum.

    With s the cosine of two embeddings, the mean over the anchors that have both kinds of pairs of

        log(1 + sum over negatives of exp(scale [s + margin]+ (s - margin))
              * sum over positives of exp(-scale [1 + margin - s]+ (s - 1 + margin)))

    The weights in brackets are constants for the gradient, as in the authors' code.

    Args:
        margin: Relaxation m in the paper, in [-1, 1]: the targets are above 1 - margin for
            positives and below margin for negatives. 0.4 in the paper for fine-grained retrieval,
            0.25 for faces.
        scale: gamma in the paper. Positive; 80 in the paper for retrieval, 256 for faces.

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
        >>> round(float(dml.losses.Circle()(labels, x)), 3)
        28.865

    References:
        - [Sun et al., CVPR 2020](https://arxiv.org/abs/2002.10857)
    """

    margin: float = 0.4
    scale: float = 80.0

    def __post_init__(self):
        super().__post_init__()
        check_within(-1, 1, margin=self.margin)
        check_positive(scale=self.scale)

    def pair_loss(self, s, positive, negative):
        constant = ops.stop_gradient(s)
        pull = -ops.relu(1 + self.margin - constant) * (s - 1 + self.margin)
        push = ops.relu(constant + self.margin) * (s - self.margin)
        both = ops.any(present(positive), axis=1) & ops.any(present(negative), axis=1)
        sums = (
            log_sum_exp(self.scale * pull, positive, 1),
            log_sum_exp(self.scale * push, negative, 1),
        )
        positives, negatives = (ops.where(both, x, ops.zeros_like(x)) for x in sums)
        return mean_over(ops.softplus(positives + negatives), both)
