"""N-pairs loss."""

from dataclasses import dataclass

import keras

from dml._options import check_positive
from dml.losses._pair_softmax import pairs_against_negatives
from dml.losses.base import LOSSES, PairLoss


@LOSSES.register("n_pairs")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class NPairs(PairLoss):
    """Lets each positive pair compete with all negatives of its anchor at once.

    With s the inner product of two embeddings, the mean over the positive pairs of

        log(1 + sum over the anchor's negatives of exp(scale (s(negative) - s(positive))))

    The paper takes one pair of each class, embeddings of any length, and a penalty on their length.
    Here embeddings have length 1, which requires a scale instead.

    Args:
        scale: Factor of the inner products. Positive; 16 here, 1 in the paper, for long vectors.

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
        >>> round(float(dml.losses.NPairs()(labels, x)), 3)
        1.339

    References:
        - [Sohn, NIPS 2016](https://papers.nips.cc/paper/6200-improved-deep-metric-learning-with-multi-class-n-pair-loss-objective)
    """

    scale: float = 16.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale)

    def pair_loss(self, similarities, positive, negative):
        return pairs_against_negatives(self.scale * similarities, positive, negative)
