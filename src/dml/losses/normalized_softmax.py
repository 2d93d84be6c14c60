"""Normalised softmax."""

from dataclasses import dataclass

import keras

from dml._options import check_positive
from dml.losses._margin_softmax import MarginSoftmax
from dml.losses.base import LOSSES


@LOSSES.register("normalized_softmax")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class NormalizedSoftmax(MarginSoftmax):
    """Classifies images by their cosines to one proxy of each class.

    With s the cosine of an image and a proxy, the mean over the batch of

        -log( exp(s(own) / temperature) / sum over classes of exp(s / temperature) )

    The simplest proxy loss, and a strong baseline. The paper adds layer normalisation and many
    images per class.

    Args:
        temperature: Temperature of the softmax. Positive; 0.05 in the paper.

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
        >>> round(float(dml.losses.NormalizedSoftmax()(labels, cosines)), 3)
        0.709

    References:
        - [Zhai and Wu, BMVC 2019](https://arxiv.org/abs/1811.12649)
    """

    temperature: float = 0.05

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    @property
    def scale(self):
        return 1.0 / self.temperature

    def with_margin(self, own):
        return own
