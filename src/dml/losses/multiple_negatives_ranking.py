"""Multiple negatives ranking."""

from dataclasses import dataclass

import keras

from dml._options import check_positive
from dml.losses._pair_softmax import own_against_rest
from dml.losses.base import LOSSES, PairLoss


@LOSSES.register("multiple_negatives_ranking")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class MultipleNegativesRanking(PairLoss):
    """Makes an anchor's positives, together, outrank its negatives.

    With s the cosine of two embeddings, the mean over the anchors that have a positive of

        log(sum over positives and negatives of exp(scale s)) - log(sum over positives of the same)

    With one positive per anchor it is the paper's softmax over the batch. With several, one near
    positive is enough, which suits classes of varied appearance.

    Args:
        scale: Factor of the cosines. Positive; 20 in sentence-transformers.

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
        >>> round(float(dml.losses.MultipleNegativesRanking()(labels, x)), 3)
        1.629

    References:
        - [Henderson et al., 2017](https://arxiv.org/abs/1705.00652)
    """

    scale: float = 20.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(scale=self.scale)

    def pair_loss(self, similarities, positive, negative):
        return own_against_rest(self.scale * similarities, positive, negative)
