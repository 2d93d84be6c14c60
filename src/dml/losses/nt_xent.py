"""NT-Xent, a temperature-scaled cross-entropy."""

from dataclasses import dataclass

import keras

from dml._options import check_positive
from dml.losses._pair_softmax import pairs_against_negatives
from dml.losses.base import LOSSES, PairLoss


@LOSSES.register("nt_xent")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class NTXent(PairLoss):
    """Classifies, for each positive pair, the positive among the anchor's negatives.

    With s the cosine of two embeddings, the mean over the positive pairs of

        -log( exp(s(pair) / temperature)
              / (exp(s(pair) / temperature) + sum over negatives of exp(s / temperature)) )

    With two views of each image as a class of two it is SimCLR's loss. An anchor's other
    positives are left out of the sum, unlike in `sup_con`.

    Args:
        temperature: Temperature of the softmax. Positive; 0.1 in the paper (ImageNet).

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
        >>> round(float(dml.losses.NTXent()(labels, x)), 3)
        0.967

    References:
        - [Chen et al., ICML 2020](https://arxiv.org/abs/2002.05709)
    """

    temperature: float = 0.1

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    def pair_loss(self, similarities, positive, negative):
        return pairs_against_negatives(similarities / self.temperature, positive, negative)
