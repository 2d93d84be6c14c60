"""ProxyNCA++ loss."""

from dataclasses import dataclass
from typing import ClassVar

import keras

from dml._options import check_positive
from dml.losses._margin_softmax import cross_entropy_of
from dml.losses.base import LOSSES, MetricLoss


@LOSSES.register("proxy_nca_pp")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class ProxyNCAPlusPlus(MetricLoss):
    """Raises the probability that an image is assigned to its class's proxy among all.

    With d2 the squared distance of an image x and a proxy, both of length 1:

        -log( exp(-d2(x, own) / T) / sum over all proxies p of exp(-d2(x, p) / T) )

    This is Proxy-NCA with a true probability and a low temperature. The paper's other parts are set
    in the recipe: global max pooling, layer normalisation, batches balanced by class, and proxies
    that learn much faster than the backbone.

    Args:
        temperature: T above; positive. 1/9 in the paper.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes) from `dml.heads.ProxyHead`.

    Returns:
        Scalar, at least 0.

    Raises:
        OptionError: `temperature` is not positive.

    Example:
        >>> labels = np.array([0, 1, 0])
        >>> cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.5]], "float32")
        >>> round(float(dml.losses.ProxyNCAPlusPlus()(labels, cosines)), 3)
        0.651

    References:
        - [Teh et al., ECCV 2020](https://arxiv.org/abs/2004.01113)
    """

    temperature: float = 1 / 9
    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True
    initial_proxy_length: ClassVar[float | None] = 1.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(temperature=self.temperature)

    def batch_loss(self, labels, cosines):
        return cross_entropy_of((2.0 * cosines - 2.0) / self.temperature, labels)
