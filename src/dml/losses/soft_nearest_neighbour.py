"""Soft nearest neighbour loss."""

from dataclasses import dataclass

import keras

from dml._options import check_positive
from dml.losses._pair_softmax import own_against_rest
from dml.losses.base import LOSSES, DistanceLoss


@LOSSES.register("soft_nearest_neighbour")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SoftNearestNeighbour(DistanceLoss):
    """Raises the probability that a randomly drawn near neighbour is of the anchor's class.

    With d the distance of two embeddings, the mean over the anchors that have a positive of

        -log( sum over positives of exp(-d / temperature)
              / sum over all others of exp(-d / temperature) )

    It needs one near positive, not all: classes may stay in several clusters.

    Args:
        temperature: Temperature of the softmax. Positive. 0.1 here, for embeddings of length 1; the
            paper lets it be learned for embeddings of any length.
        distance: `squared` (paper), or another of `dml.ops.distances`.

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
        >>> round(float(dml.losses.SoftNearestNeighbour()(labels, x)), 3)
        1.629

    References:
        - [Frosst et al., ICML 2019](https://arxiv.org/abs/1902.01889)
    """

    temperature: float = 0.1
    distance: str = "squared"

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    def pair_loss(self, d, positive, negative):
        return own_against_rest(-d / self.temperature, positive, negative)
