"""The layers of encoders, registered under the names that their files hold."""

from typing import Any

import keras
from keras import layers

from dml._devices import by_image
from dml.ops import unit_length

ops: Any = keras.ops


@keras.saving.register_keras_serializable("dml")
class UnitLength(layers.Layer):
    """Divides each vector by its length, in float32; a zero vector stays zero.

    Call arguments:
        x: Floats (..., D).

    Returns:
        Float32 (..., D), of length 1 or 0.
    """

    def __init__(self, **options):
        super().__init__(**{**options, "dtype": "float32"})

    def call(self, x):
        return unit_length(x)

    def get_config(self):
        # Without it, Keras omits the name, because the last argument is not called `kwargs`.
        return super().get_config()


@keras.saving.register_keras_serializable("dml")
class FrozenStatistics(layers.Wrapper):
    """Runs a network whose BatchNormalization always uses its stored statistics; all else learns.

    A layer, because `training=False` in a functional graph is overridden by the `training=True` of
    the enclosing model.

    Args:
        layer: A Keras model from images to features.

    Call arguments:
        images: As the model takes them.

    Returns:
        The model's output in inference mode.
    """

    def call(self, images):
        return self.layer(images, training=False)

    def compute_output_shape(self, input_shape):
        return self.layer.compute_output_shape(input_shape)


@keras.saving.register_keras_serializable("dml")
class GeneralisedMean(layers.Layer):
    """Pools a feature map by the mean of powers (Radenovic et al., 2018): (mean x^p)^(1/p).

    p = 1 is the average, p -> infinity the maximum; p is learned, starting at 3.

    Call arguments:
        x: Floats (B, H, W, C); values under 1e-6 count as 1e-6.

    Returns:
        Floats (B, C).
    """

    def build(self, input_shape):
        self.exponent = self.add_weight(
            shape=(), initializer=keras.initializers.Constant(3.0), name="exponent"
        )

    def call(self, x):
        x = ops.log(ops.maximum(ops.cast(x, "float32"), 1e-6)) * self.exponent
        count = ops.cast(ops.shape(x)[1] * ops.shape(x)[2], "float32")
        # In logarithms: x^p overflows for large p or x.
        pooled = (ops.logsumexp(x, axis=(1, 2)) - ops.log(count)) / self.exponent
        return ops.cast(ops.exp(pooled), self.compute_dtype)


@keras.saving.register_keras_serializable("dml")
class Prepare(layers.Layer):
    """Resizes each image to a square of `resize_side` and crops its centre.

    Not composed of Keras' `Resizing` and `CenterCrop`: their default `training=True` leaks to the
    layers after them, and the encoder would normalise by the batch when called directly.

    Args:
        resize_side: Length in pixels of the shorter side before the crop.
        input_size: Side in pixels of the crop; at most `resize_side`.
        aspect: `keep`, or `stretch`, which resizes both sides to `resize_side`.

    Call arguments:
        images: Numbers 0..255 (B, H, W, 3).

    Returns:
        uint8 (B, input_size, input_size, 3).
    """

    def __init__(self, resize_side: int, input_size: int, aspect: str = "keep", **options):
        super().__init__(**{**options, "dtype": "uint8"})
        self.aspect = aspect
        self.resize_side = resize_side
        self.input_size = input_size

    def call(self, images):
        images = by_image(images)
        side, start = self.resize_side, (self.resize_side - self.input_size) // 2
        if tuple(images.shape[1:3]) != (side, side):
            images = squares(ops.cast(images, "float32"), side, self.aspect)
        end = start + self.input_size
        crops = images[:, start:end, start:end, :]
        return ops.cast(ops.clip(ops.round(ops.cast(crops, "float32")), 0, 255), "uint8")

    def compute_output_spec(self, images):
        shape = (images.shape[0], self.input_size, self.input_size, 3)
        return keras.KerasTensor(shape, dtype="uint8")

    def get_config(self):
        names = ("resize_side", "input_size", "aspect")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def squares(images: Any, side: int, aspect: str) -> Any:
    """Resizes images by the triangle filter, widened where they shrink, as Pillow does.

    Computed as two matrix products, which all backends and export runtimes evaluate identically for
    images of any size; their own resizing differs, or needs the size in advance.

    Args:
        images: Float32 (B, H, W, C).
        side: Side of the squares in pixels.
        aspect: `keep` resizes the middle square; `stretch` the whole image.

    Returns:
        Float32 (B, side, side, C).
    """
    _, height, width, channels = (n or ops.shape(images)[i] for i, n in enumerate(images.shape))
    shorter = ops.minimum(height, width)
    rows, columns = (shorter, shorter) if aspect == "keep" else (height, width)
    down = _filter_weights(height, rows, side)  # (side, H)
    across = _filter_weights(width, columns, side)  # (side, W)
    # Both factors have three axes: TensorFlow exports other products to ONNX incorrectly.
    x = ops.matmul(down[None], ops.reshape(images, (-1, height, width * channels)))
    x = ops.transpose(ops.reshape(x, (-1, side, width, channels)), (0, 1, 3, 2))
    x = ops.matmul(ops.reshape(x, (-1, side * channels, width)), ops.transpose(across)[None])
    return ops.transpose(ops.reshape(x, (-1, side, channels, side)), (0, 1, 3, 2))


def _filter_weights(length, part, side):
    """Returns the weights (side, length) of `length` pixels in each of `side` resized ones.

    Only the middle `part` of the pixels is resized.
    """
    first = ops.cast((length - part) // 2, "float32")
    part = ops.cast(part, "float32")
    pixels = ops.arange(length, dtype="float32")[None, :]
    scale = part / side
    centres = first + (ops.arange(side, dtype="float32")[:, None] + 0.5) * scale - 0.5
    weights = ops.relu(1.0 - ops.abs(pixels - centres) / ops.maximum(scale, 1.0))
    inside = ops.logical_and(pixels >= first, pixels < first + part)
    weights = ops.where(inside, weights, 0.0)
    return weights / ops.sum(weights, axis=1, keepdims=True)
