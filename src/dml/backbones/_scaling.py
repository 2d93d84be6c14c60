"""Scaling of images with values 0..255 to the input range that pretrained weights expect."""

from collections.abc import Sequence
from typing import Any

import keras

from dml._options import check_known

ops: Any = keras.ops
MODES = {  # as in keras.applications: (subtract, divide) of each channel, reversed channels
    "tf": ((127.5, 127.5, 127.5), (127.5, 127.5, 127.5), False),
    "torch": ((123.675, 116.28, 103.53), (58.395, 57.12, 57.375), False),
    "caffe": ((103.939, 116.779, 123.68), (1.0, 1.0, 1.0), True),
    "none": ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0), False),
}


@keras.saving.register_keras_serializable("dml")
class InputScaling(keras.layers.Layer):
    """Maps RGB images with values 0..255 to the range that a family of weights was trained on.

    Args:
        mode: `tf` for [-1, 1]; `torch` for ImageNet mean 0 and deviation 1; `caffe` for BGR less
            ImageNet's mean; `none` for networks that scale their input themselves.

    Call arguments:
        images: Numbers 0..255 (B, H, W, 3).

    Returns:
        Floats (B, H, W, 3) in the layer's compute type.
    """

    def __init__(self, mode: str, **options):
        check_known(MODES, mode=mode)
        super().__init__(**options)
        self.mode = mode

    def call(self, images):
        subtract, divide, reverse = MODES[self.mode]
        x = ops.cast(images, "float32")
        if reverse:
            x = ops.flip(x, axis=-1)
        return ops.cast((x - ops.array(subtract)) / ops.array(divide), self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "mode": self.mode}


@keras.saving.register_keras_serializable("dml")
class ChannelScaling(keras.layers.Layer):
    """Multiplies and shifts each channel of RGB images with values 0..255.

    Args:
        scale: Factor of each channel, R, G and B.
        offset: What is added to each channel after that.

    Call arguments:
        images: Numbers 0..255 (B, H, W, 3).

    Returns:
        Floats (B, H, W, 3) in the layer's compute type.
    """

    def __init__(self, scale: Sequence[float], offset: Sequence[float], **options):
        super().__init__(**options)
        self.scale = [float(value) for value in scale]
        self.offset = [float(value) for value in offset]

    def call(self, images):
        x = ops.cast(images, "float32") * ops.array(self.scale) + ops.array(self.offset)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "scale": self.scale, "offset": self.offset}
