"""Hyperbolic pairwise cross-entropy."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_at_least, check_positive
from dml.losses._pair_softmax import pairs_against_negatives
from dml.losses.base import LOSSES, PairLoss
from dml.ops import poincare


@LOSSES.register("hyperbolic")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Hyperbolic(PairLoss):
    """Classifies an anchor's positive among its negatives, by distances in the Poincare ball.

    With d the distance of two embeddings mapped into the ball of this curvature, the mean over
    the positive pairs of

        -log( exp(-d(pair) / temperature)
              / (exp(-d(pair) / temperature) + sum over negatives of exp(-d / temperature)) )

    With curvature 0 it is the paper's version on the sphere, of cosines in place of -d. Embeddings
    of length 1 all map to one shell of the ball: the distance is then a monotonic function of the
    cosine, and neighbours can be searched by the cosine as usual. An encoder without normalisation
    uses more of the ball.

    Args:
        curvature: c in the paper. At least 0; 0.1 in the authors' code.
        temperature: Temperature of the softmax. Positive; 0.2 in the paper, 0.1 on the sphere.
        largest_length: Longer embeddings are cut to it before they are mapped. Positive; 2.3 in the
            authors' code.

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
        >>> round(float(dml.losses.Hyperbolic()(labels, x)), 3)
        1.89

    References:
        - [Ermolov et al., CVPR 2022](https://arxiv.org/abs/2203.10833)
    """

    curvature: float = 0.1
    temperature: float = 0.2
    largest_length: float = 2.3

    def __post_init__(self):
        super().__post_init__()
        check_at_least(0, curvature=self.curvature)
        check_positive(temperature=self.temperature, largest_length=self.largest_length)

    def compare(self, anchors, references):
        if not self.curvature:
            return ops.matmul(anchors, ops.transpose(references))
        return -poincare(anchors, references, self.curvature, self.largest_length)

    def pair_loss(self, nearness, positive, negative):
        return pairs_against_negatives(nearness / self.temperature, positive, negative)
