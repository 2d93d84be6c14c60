"""P2SGrad as a mean squared error."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml.losses.base import LOSSES, MetricLoss
from dml.ops import as_weights, memberships


@LOSSES.register("p2s_grad")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class P2SGrad(MetricLoss):
    """Regresses each image's cosine to 1 with the proxy of its class and to 0 with all others.

    The mean over the batch of the sum over the classes of (s - target)^2. P2SGrad is a gradient,
    not a loss: it pushes each cosine by its own error. This is the loss of that gradient (Wang and
    Yamagishi), which pytorch-metric-learning also divides by the number of classes. It has no
    options to tune.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes) from `dml.heads.ProxyHead`.

    Returns:
        Scalar, at least 0.

    Example:
        >>> labels = np.array([0, 1, 0])
        >>> cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.5]], "float32")
        >>> round(float(dml.losses.P2SGrad()(labels, cosines)), 3)
        0.237

    References:
        - [Zhang et al., CVPR 2019](https://arxiv.org/abs/1905.02479)
        - [Wang and Yamagishi, 2021](https://arxiv.org/abs/2103.11326)
    """

    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True

    def batch_loss(self, labels, cosines):
        wanted = as_weights(memberships(labels, cosines.shape[1]))
        return ops.mean(ops.sum(ops.square(cosines - wanted), axis=1))
