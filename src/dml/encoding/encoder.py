"""The encoder: a Keras model from uint8 images of any size to unit vectors."""

from dataclasses import dataclass

import keras
from keras import layers, ops

import dml.backbones.scaling  # noqa: F401, registers a layer of saved encoders
from dml.backbones.base import load_model
from dml.ops import unit_length

POOLINGS = ("average", "max", "average+max", "gem")


@dataclass(frozen=True)
class EmbeddingOptions:
    """How a map of features becomes one unit vector.

    Args:
        dim: Length of the embedding: 512 in most papers, 64 in Proxy-NCA. 0 leaves the embedding
            layer out, so that the pooled features themselves are the embedding.
        pooling: `average`, `max`, `average+max` (their sum, as in the code of Proxy Anchor) or
            `gem` (generalised mean with a learned exponent).
        layer_norm: Normalise the pooled features to mean 0 and deviation 1, without affine
            parameters (ProxyNCA++).
    """

    dim: int = 512
    pooling: str = "average"
    layer_norm: bool = False

    def __post_init__(self):
        if self.dim < 0:
            raise ValueError(f"dim must be at least 0; got {self.dim}")
        if self.pooling not in POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(POOLINGS)}; got {self.pooling!r}")


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
        # Keras' own, which it would cut: it leaves out the name where `**options` is not `kwargs`.
        return super().get_config()


@keras.saving.register_keras_serializable("dml")
class FrozenStatistics(layers.Wrapper):
    """Runs a network whose BatchNormalization always uses its own statistics; all else learns.

    A layer, because `training=False` written into a functional graph is overruled by the
    `training=True` of the model around it.

    Args:
        layer: A Keras model from images to features.

    Call arguments:
        images: As the model takes them.

    Returns:
        What the model returns when it is not training.
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
        # As logarithms: x^p overflows where p or x grow.
        pooled = (ops.logsumexp(x, axis=(1, 2)) - ops.log(count)) / self.exponent
        return ops.cast(ops.exp(pooled), self.compute_dtype)


@keras.saving.register_keras_serializable("dml")
class Prepare(layers.Layer):
    """Brings each image to squares of `resize_side` and cuts out the centre.

    Not made of Keras' `Resizing` and `CenterCrop`: their default `training=True` leaks to the
    layers after them, and the encoder would normalise by the batch when called directly.

    Args:
        resize_side: Length in pixels of the shorter side before the cut.
        input_size: Side in pixels of the centre that is cut out; at most `resize_side`.
        aspect: `keep`, or `stretch`, which brings the longer side to `resize_side` too.

    Call arguments:
        images: Numbers 0..255 (B, H, W, 3).

    Returns:
        uint8 (B, input_size, input_size, 3).
    """

    def __init__(self, resize_side, input_size, aspect="keep", **options):
        super().__init__(**{**options, "dtype": "uint8"})
        self.aspect = aspect
        self.resize_side = resize_side
        self.input_size = input_size

    def call(self, images):
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


def squares(images, side, aspect):
    """Resizes images by the triangle filter, widened where they shrink, as Pillow does.

    As two matrix products, which every backend and every runtime of exported encoders computes
    alike, whatever the images' size; their own operations differ, or need it in advance.

    Args:
        images: Float32 (B, H, W, C).
        side: Of the squares, in pixels.
        aspect: `keep` resizes the middle square; `stretch` the whole image.

    Returns:
        Float32 (B, side, side, C).
    """
    _, height, width, channels = (n or ops.shape(images)[i] for i, n in enumerate(images.shape))
    shorter = ops.minimum(height, width)
    rows, columns = (shorter, shorter) if aspect == "keep" else (height, width)
    down = filter_weights(height, rows, side)  # (side, H)
    across = filter_weights(width, columns, side)  # (side, W)
    # Both factors of three axes: TensorFlow's product of unlike ones is exported wrongly to ONNX.
    x = ops.matmul(down[None], ops.reshape(images, (-1, height, width * channels)))
    x = ops.transpose(ops.reshape(x, (-1, side, width, channels)), (0, 1, 3, 2))
    x = ops.matmul(ops.reshape(x, (-1, side * channels, width)), ops.transpose(across)[None])
    return ops.transpose(ops.reshape(x, (-1, side, channels, side)), (0, 1, 3, 2))


def filter_weights(length, part, side):
    """Returns how much each of `length` pixels adds to each of `side`, (side, length).

    The middle `part` of the pixels is what is resized.
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


def build_encoder(backbone, embedding=None):
    """Builds the encoder: preparation of the image, backbone, pooling, embedding, unit length.

    The preparation (shorter side to `resize_side`, centre `input_size` cut out) and the scaling
    that the weights expect are inside, so that the model can't be fed wrongly.

    Args:
        backbone: A part of `dml.backbones`.
        embedding: `EmbeddingOptions`; the defaults if None.

    Returns:
        A Keras model from uint8 images (B, H, W, 3) to float32 unit vectors (B, dim), with two
        layers: `prepare` and `network`, the part that learns.
    """
    embedding = embedding or EmbeddingOptions()
    size, side = backbone.input_size, backbone.resize_side
    network = backbone.network()
    x = inputs = keras.Input((size, size, 3), dtype="uint8", name="crops")
    x = backbone.scaling()(x)
    x = FrozenStatistics(network)(x) if backbone.batch_norm == "frozen" else network(x)
    if len(x.shape) == 4:
        x = pool(x, embedding.pooling)
    if embedding.layer_norm:
        x = layers.LayerNormalization(center=False, scale=False, name="layer_norm")(x)
    if embedding.dim:
        x = layers.Dense(embedding.dim, kernel_initializer="he_normal", name="embedding")(x)
    network = keras.Model(inputs, UnitLength(name="unit_length")(x), name="network")

    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    prepare = Prepare(side, size, backbone.aspect, name="prepare")
    return keras.Model(images, network(prepare(images)), name="encoder")


def pool(features, pooling):
    """Returns the pooled (B, C) of a feature map (B, H, W, C)."""
    if pooling == "average":
        return layers.GlobalAveragePooling2D()(features)
    if pooling == "max":
        return layers.GlobalMaxPooling2D()(features)
    if pooling == "average+max":
        return layers.Add()(
            [layers.GlobalAveragePooling2D()(features), layers.GlobalMaxPooling2D()(features)]
        )
    return GeneralisedMean(name="gem")(features)


def load_encoder(path):
    """Loads an `encoder.keras` file.

    Raises:
        ValueError: The file is damaged or no encoder.
    """
    return load_model(path, "an encoder")
