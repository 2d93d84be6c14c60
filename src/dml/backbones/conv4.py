"""The four-block convolutional network of few-shot learning (Vinyals et al., NeurIPS 2016)."""

from dataclasses import dataclass
from typing import ClassVar

import keras
from keras import layers

from dml._options import check_integer
from dml.backbones._scaling import InputScaling
from dml.backbones.base import BACKBONES, Backbone
from dml.errors import OptionError


@BACKBONES.register("conv4")
@dataclass(frozen=True)
class Conv4(Backbone):
    """Four blocks of 3x3 convolution, BatchNormalization, ReLU and max-pooling.

    For small images, such as characters.

    Args:
        weights: `none`, or the path of a weights file. There are no ImageNet weights.
        input_size: Side in pixels; at least 16, 28 to 64 is usual.
        resize_side: Side that the shorter side of an image is resized to first; 0 takes
            `input_size`.
        aspect: As for every backbone, `keep` or `stretch`.
        filters: Channels of every block. Positive; 64 in Snell et al., NeurIPS 2017.
        batch_norm: As for every backbone, `train` or `frozen`.
        batch_norm_momentum: As for every backbone.
        lora_rank: As for every backbone; must be 0, as there are no dense kernels.
    """

    cropped_from: ClassVar[float] = 1.0

    weights: str = "none"
    input_size: int = 48
    filters: int = 64
    batch_norm_momentum: float | None = 0.9

    def __post_init__(self):
        super().__post_init__()
        if self.weights == "imagenet":
            raise OptionError("weights", "must be 'none' or a file: conv4 has no ImageNet weights")
        check_integer(16, input_size=self.input_size)
        check_integer(1, filters=self.filters)

    def scaling(self) -> keras.Layer:
        return InputScaling("tf", name="scaling")

    def architecture(self, weights: str | None) -> keras.Model:
        x = inputs = keras.Input((self.input_size, self.input_size, 3))
        for _ in range(4):
            x = layers.Conv2D(self.filters, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization()(x)
            x = layers.MaxPooling2D()(layers.ReLU()(x))
        return keras.Model(inputs, x, name="conv4")
