"""Centre loss."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

from dml.losses.base import LOSSES, MetricLoss
from dml.ops import memberships, row_shares


@LOSSES.register("center")
@keras.saving.register_keras_serializable("dml")
@dataclass(eq=False)
class Center(MetricLoss):
    """Pulls each image to the centre of its class.

    Half the mean squared distance of an image and its class's centre, both of length 1: the mean
    of 1 - their cosine. An image of several classes has the mean of theirs, by its memberships, and
    one without a class 0. It separates no classes and collapses when used alone; combine it with a
    loss that classifies, in the paper with a weight of 0.003 to 0.1. The paper updates its centres
    by a separate rule; here they are proxies that the optimizer trains.

    Call arguments:
        labels: Integers (B,), each in [0, classes), or memberships (B, classes).
        cosines: Floats (B, classes) from `dml.heads.ProxyHead`.

    Returns:
        Scalar in [0, 2].

    Example:
        >>> labels = np.array([0, 1, 0])
        >>> cosines = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.5]], "float32")
        >>> round(float(dml.losses.Center()(labels, cosines)), 3)
        0.3

    References:
        - [Wen et al., ECCV 2016](https://doi.org/10.1007/978-3-319-46478-7_31)
    """

    proxies_per_class: ClassVar[int] = 1
    averages_images: ClassVar[bool] = True

    def batch_loss(self, labels, cosines):
        own = row_shares(memberships(labels, cosines.shape[1]))
        return ops.mean(ops.sum(own * (1.0 - cosines), axis=1))
