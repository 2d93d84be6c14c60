"""ArcFace."""

import math
from dataclasses import dataclass

import keras

from dml._options import check_interval, check_positive
from dml.losses._margin_softmax import MarginSoftmax, turned_away
from dml.losses.base import LOSSES


@LOSSES.register("arcface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class ArcFace(MarginSoftmax):
    """Classifies images by cosines to proxies, with a margin added to the angle of the own class.

    The mean over the batch of the cross-entropy of scale cos(theta + margin) for the image's own
    class and scale cos(theta) for the others, theta being the angle of image and proxy. Beyond
    theta = 180 degrees - margin, where the cosine would rise again, it continues as cos(theta) -
    margin sin(margin), as in the authors' code.

    cos(theta + margin) is taken from cosine and sine, with no inverse cosine, whose gradient is
    infinite where an image meets its proxy. The sine is held above 1e-3 there.

    Args:
        margin: m in the paper, in degrees. In [0, 90]; 28.6 (0.5 rad) in the paper.
        scale: s in the paper. Positive; 64 in the paper.

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
        >>> round(float(dml.losses.ArcFace()(labels, cosines)), 3)
        12.534

    References:
        - [Deng et al., CVPR 2019](https://arxiv.org/abs/1801.07698)
    """

    margin: float = 28.6
    scale: float = 64.0

    def __post_init__(self):
        super().__post_init__()
        check_interval("[0, 90] degrees", margin=self.margin)
        check_positive(scale=self.scale)

    def with_margin(self, own):
        return turned_away(own, math.radians(self.margin))
