"""Smooth-AP (Brown et al., ECCV 2020, arXiv 2007.12163)."""

from dataclasses import dataclass

import keras
from keras import ops

from dml._options import check_positive
from dml.losses.base import LOSSES, PairLoss
from dml.ops import as_weights, mean_over, present


@LOSSES.register("smooth_ap")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SmoothAP(PairLoss):
    """Raises each anchor's average precision, with soft ranks of its positives.

    A rank counts those that are nearer to the anchor, by sigmoids of differences of cosines. The
    loss is 1 less the mean, over the anchors with a positive and over their positives j, of

        (1 + sum over other positives k of sigmoid((s_k - s_j) / temperature))
      / (1 + sum over all others k      of sigmoid((s_k - s_j) / temperature))

    The anchor itself is no positive; the authors' code counts it as one. Takes O(B^3) memory, half
    a GB at 256; needs several images of each class, and as large a batch as fits.

    Args:
        temperature: Temperature of the sigmoid. Positive; 0.01 in the paper. Lower is nearer to the
            true precision, with gradients in fewer places.

    Call arguments:
        labels: Integers (B,), or a relation (B, B).
        embeddings: Floats (B, D), of length 1.

    Returns:
        Scalar in [0, 1].

    Raises:
        ValueError: An option is out of its range.
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


def nearer(similarities, temperature):
    """Returns how far (B, R, R) reference k is above j for anchor i, softly, in [0, 1]."""
    gaps = similarities[:, None, :] - similarities[:, :, None]  # (anchor, j, k)
    return ops.sigmoid(gaps / temperature)


def without_itself(mask):
    """Returns a mask (B, R, R) of an anchor's pairs k for each j, without k = j."""
    itself = ops.eye(ops.shape(mask)[1])
    return as_weights(mask)[:, None, :] * (1.0 - itself)


def count_above(above, mask):
    """Returns how many (B, R) of a mask's pairs rank above each j."""
    shares = as_weights(mask)
    if len(shares.shape) == 2:
        return ops.einsum("ijk,ik->ij", above, shares)
    return ops.sum(above * shares, axis=2)


def mean_of_anchors(values, positive):
    """Returns the mean over anchors, of those with a positive, of the mean over their positives."""
    valid = ops.any(present(positive), axis=1)
    return mean_over(mean_over(values, positive, axis=1), valid)
