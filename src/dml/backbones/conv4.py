"""The four-block convolutional network of few-shot learning (Vinyals et al., NeurIPS 2016)."""

from dataclasses import dataclass

import keras
from keras import layers

from dml.backbones.base import BACKBONES, Backbone
from dml.backbones.scaling import InputScaling


@BACKBONES.register("conv4")
@dataclass(frozen=True)
class Conv4(Backbone):
    """Four times convolution 3x3, BatchNormalization, ReLU and max-pooling: for small characters.

    Args:
        weights: `none`, or the path of a weights file. There are no ImageNet weights of it.
        input_size: Side in pixels; at least 16, 28 to 64 is usual.
        resize_side: Side that the shorter side of an image is brought to first.
        aspect: As for every backbone, `keep` or `stretch`.
        filters: Channels of every block. Positive; 64 in Snell et al., NeurIPS 2017.
        batch_norm: As for every backbone, `train` or `frozen`.
        batch_norm_momentum: As for every backbone.
    """

    weights: str = "none"
    input_size: int = 48
    resize_side: int = 48
    filters: int = 64
    batch_norm_momentum: float | None = 0.9

    def __post_init__(self):
        super().__post_init__()
        if self.weights == "imagenet":
            raise ValueError("conv4 has no ImageNet weights: set backbone.weights to 'none'")
        if self.input_size < 16 or self.filters < 1:
            raise ValueError(
                f"input_size must be at least 16 and filters positive; got {self.input_size} "
                f"and {self.filters}"
            )

    def scaling(self):
        return InputScaling("tf", name="scaling")

    def architecture(self, weights):
        x = inputs = keras.Input((self.input_size, self.input_size, 3))
        for _ in range(4):
            x = layers.Conv2D(self.filters, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.MaxPooling2D()(layers.ReLU()(x))
        return keras.Model(inputs, x, name="conv4")
