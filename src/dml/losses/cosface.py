"""CosFace."""

from dataclasses import dataclass

import keras

from dml._options import check_positive, check_within
from dml.losses._margin_softmax import MarginSoftmax
from dml.losses.base import LOSSES


@LOSSES.register("cosface")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class CosFace(MarginSoftmax):
    """Classifies images by cosines to proxies, with a margin subtracted from the cosine of the own
    class.

    The mean over the batch of the cross-entropy of scale (s - margin) for the image's own class
    and scale s for the others, s being the cosine of image and proxy.

    Args:
        margin: Margin of the cosine, m in the paper. In [0, 1]; 0.35 in the paper.
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
        >>> round(float(dml.losses.CosFace()(labels, cosines)), 3)
        9.6

    References:
        - [Wang et al., CVPR 2018](https://arxiv.org/abs/1801.09414)
    """

    margin: float = 0.35
    scale: float = 64.0

    def __post_init__(self):
        super().__post_init__()
        check_within(0, 1, margin=self.margin)
        check_positive(scale=self.scale)

    def with_margin(self, own):
        return own - self.margin
