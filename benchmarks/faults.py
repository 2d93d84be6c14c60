"""What dml-tf (https://github.com/shi510/dml-tf) did otherwise, as parts for `convergence.py`."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import ops

import dml


def with_pixels_times(backbone: dml.backbones.Backbone, factor: float) -> dml.backbones.Backbone:
    """Returns a backbone whose network sees the values 0..255 times a factor, whatever it expects.

    1/255 is dml-tf's input. Its MobileNetV3 divided by 255 once more.
    """

    class Rescaled(type(backbone)):
        def scaling(self):
            return dml.backbones.ChannelScaling([factor] * 3, [0.0] * 3, name="scaling")

    return Rescaled(**vars(backbone))


@dataclass(eq=False)
class LongProxyNCA(dml.losses.ProxyNCA):
    """Proxy-NCA whose proxies start with entries from N(0, 1), at 64 dimensions of length 8."""

    initial_proxy_length: ClassVar[float | None] = 8.0


@dataclass(eq=False)
class FirstProxyNCA(dml.losses.MetricLoss):
    """dml-tf's first Proxy-NCA: proxies of length 8, the class's own not in the sum, loss >= 0.

    An image has no gradient as soon as the proxy of its class outweighs the sum of all others.
    """

    scale: float = 16.0
    proxies_per_class: ClassVar[int] = 1
    initial_proxy_length: ClassVar[float | None] = 8.0

    def batch_loss(self, labels, cosines):
        logits = self.scale * cosines
        own = ops.one_hot(labels, cosines.shape[1], dtype="bool")
        attraction = ops.sum(ops.where(own, logits, 0.0), axis=1)
        repulsion = ops.logsumexp(ops.where(own, -float("inf"), logits), axis=1)
        return ops.mean(ops.relu(repulsion - attraction))


@dataclass(frozen=True)
class LongOrthogonality(dml.regularizers.Regularizer):
    """dml-tf's orthogonality: the sum over pairs of proxies of (p_i . p_j)^2 / (2 (C - 1)).

    Proxies keep their length, and a sum over C (C - 1) / 2 pairs is divided by 2 (C - 1): for more
    classes than dimensions it grows with their number.

    Args:
        weight: Factor. 0.1 in dml-tf.
    """

    acts_on: ClassVar[str] = "raw_proxies"
    weight: float = 0.1

    def __call__(self, proxies):
        classes, _, dim = proxies.shape
        rows = ops.reshape(proxies, (classes, dim))
        squares = ops.sum(ops.square(ops.transpose(rows) @ rows))  # of all C x C products
        own = ops.sum(ops.square(ops.sum(ops.square(rows), axis=1)))
        return self.weight * (squares - own) / 2 / (2 * (classes - 1))


@keras.saving.register_keras_serializable("dml_benchmarks")
class UnscaledDecay(dml.Learner):
    """A learner that takes a share of every weight in each step, whatever the learning rate.

    So did the AdamW of TensorFlow Addons, biases and normalisation included. Not on JAX.

    Attributes:
        share: The share. 1e-4 in dml-tf.
    """

    share: float = 1e-4

    def train_step(self, *batch):
        for variable in self.trainable_variables:
            variable.assign(variable * (1.0 - self.share))
        return super().train_step(*batch)
