"""SphereFace."""

from dataclasses import dataclass

import keras

from dml._options import check_integer, check_positive, check_within
from dml.losses._margin_softmax import MarginSoftmax, multiplied
from dml.losses.base import LOSSES


@LOSSES.register("sphereface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class SphereFace(MarginSoftmax):
    """Classifies images by cosines to proxies, with the angle of the own class multiplied.

    The mean over the batch of the cross-entropy of scale psi(theta) for the image's own class and
    scale cos(theta) for the others, where psi falls over all angles:

        psi(theta) = (-1)^k cos(multiple theta) - 2 k,  k = floor(multiple theta / 180 degrees)

    cos(multiple theta) is a polynomial of cos(theta), finite everywhere, as is its gradient.

    Args:
        multiple: m in the paper, an integer. In [1, 6]; 4 in the paper. Hard to train from scratch:
            the paper mixes in the plain softmax at first; smaller multiples don't need that.
        scale: Factor of the cosines. Positive. The paper has the image's own length; 30 in later
            work on unit vectors.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes) from `dml.heads.ProxyHead`.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> labels = np.array([0, 1, 0])
        >>> cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.5]], "float32")
        >>> round(float(dml.losses.SphereFace()(labels, cosines)), 3)
        37.992

    References:
        - [Liu et al., CVPR 2017](https://arxiv.org/abs/1704.08063)
    """

    multiple: int = 4
    scale: float = 30.0

    def __post_init__(self):
        super().__post_init__()
        check_integer(1, multiple=self.multiple)
        check_within(1, 6, multiple=self.multiple)
        check_positive(scale=self.scale)

    def with_margin(self, own):
        return multiplied(own, self.multiple)
