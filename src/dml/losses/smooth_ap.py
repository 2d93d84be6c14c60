"""Smooth-AP."""

from dataclasses import dataclass

import keras

from dml._options import check_positive
from dml.losses._soft_counts import count_above, mean_of_anchors, nearer, without_itself
from dml.losses.base import LOSSES, PairLoss


@LOSSES.register("smooth_ap")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SmoothAP(PairLoss):
    """Raises each anchor's average precision, with soft ranks of its positives.

    A rank counts those that are nearer to the anchor, by sigmoids of differences of cosines. The
    loss is 1 less the mean, over the anchors with a positive and over their positives j, of

        (1 + sum over other positives k of sigmoid((s_k - s_j) / temperature))
      / (1 + sum over all others k      of sigmoid((s_k - s_j) / temperature))

    The anchor itself is not a positive; the authors' code counts it as one. Takes O(B^3) memory,
    half a GB at 256; needs several images of each class, and as large a batch as fits.

    Args:
        temperature: Temperature of the sigmoid. Positive; 0.01 in the paper. Lower values
            approximate the precision better, but have fewer nonzero gradients.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar in [0, 1].

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> round(float(dml.losses.SmoothAP()(labels, x)), 3)
        0.25

    References:
        - [Brown et al., ECCV 2020](https://arxiv.org/abs/2007.12163)
    """

    temperature: float = 0.01

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    def pair_loss(self, s, positive, negative):
        above = nearer(s, self.temperature)
        own = 1.0 + count_above(above, without_itself(positive))
        rest = count_above(above, negative)
        return mean_of_anchors(1.0 - own / (own + rest), positive)
