"""The encoder: a Keras model from uint8 images of any size to unit vectors."""

import os
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers

from dml._options import check_integer, check_known
from dml.backbones import Backbone
from dml.backbones._weights import load_model
from dml.encoding._layers import FrozenStatistics, Prepare, UnitLength
from dml.encoding._pooling import POOLINGS, pooled
from dml.errors import OptionError

_INITS = ("auto", "pca", "random")


@dataclass(frozen=True)
class EmbeddingOptions:
    """How a feature map becomes one unit vector.

    Args:
        dim: Dimension of the embedding: 512 in most papers, 64 in Proxy-NCA. 0 leaves the embedding
            layer out, so that the pooled features themselves are the embedding.
        pooling: `auto` takes the class token of transformers (of SigLIP its attention-pooled
            vector), and otherwise `average`. `average`, `max`, `average+max` (their sum, as in the
            code of Proxy Anchor) and `gem` (generalised mean with a learned exponent) pool the
            feature map, of transformers the patches alone; `cls` is the class token, and
            `cls+average` both, concatenated.
        layer_norm: Whether to normalise the pooled features to mean 0 and standard deviation 1,
            without affine parameters (ProxyNCA++).
        init: How a training initialises the embedding layer: `pca` by the principal components of
            the training images' features, so that the embedding starts with the quality of the
            pretrained network; `random` (He et al., 2015), as in the papers; `auto` is `pca` with
            pretrained weights and `random` otherwise. `build_encoder` itself is always random.
        pca_whiten: Whether `pca` scales all components to the same variance.

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> backbone = dml.backbones.Conv4(input_size=16, resize_side=16)
        >>> dml.build_encoder(backbone, dml.EmbeddingOptions(dim=64)).output_shape
        (None, 64)
    """

    dim: int = 512
    pooling: str = "auto"
    layer_norm: bool = False
    init: str = "auto"
    pca_whiten: bool = False

    def __post_init__(self):
        check_integer(0, dim=self.dim)
        check_known(_INITS, init=self.init)
        check_known(POOLINGS, pooling=self.pooling)
        if self.pca_whiten and self.init == "random":
            raise OptionError("pca_whiten", "is for the principal components: set init to pca")


def build_encoder(backbone: Backbone, embedding: EmbeddingOptions | None = None) -> keras.Model:
    """Builds an encoder: preprocessing, backbone, pooling, embedding layer and unit length.

    Preprocessing is built in: resizing to `resize_side`, the centre crop of `input_size`, and the
    scaling that the weights expect.

    Args:
        backbone: A part of `dml.backbones`.
        embedding: Pooling and embedding layer; the defaults if None.

    Returns:
        A Keras model from uint8 images (B, H, W, 3) to float32 unit vectors (B, dim), with two
        layers: `prepare` and `network`, the part that learns.

    Raises:
        DataError: The backbone's weights are damaged or of another architecture.
        MissingDataError: The weights are missing.
        OptionError: The backbone has no class token for this pooling, or another input size.
        StorageError: Weights can't be downloaded.

    Example:
        >>> import numpy as np
        >>> from dml.backbones import Conv4
        >>> encoder = build_encoder(Conv4(input_size=28, resize_side=28))
        >>> encoder.predict_on_batch(np.zeros((2, 40, 30, 3), "uint8")).shape
        (2, 512)
    """
    embedding, backbone = embedding or EmbeddingOptions(), backbone.resolved()
    size, side = backbone.input_size, backbone.resize_side
    network: Any = backbone.network()
    x = inputs = keras.Input((size, size, 3), dtype="uint8", name="crops")
    x = backbone.scaling()(x)
    x = FrozenStatistics(network)(x) if backbone.batch_norm == "frozen" else network(x)
    x = pooled(x, embedding.pooling)
    if embedding.layer_norm:
        x = layers.LayerNormalization(center=False, scale=False, name="layer_norm")(x)
    if embedding.dim:
        x = layers.Dense(embedding.dim, kernel_initializer="he_normal", name="embedding")(x)
    network: Any = keras.Model(inputs, UnitLength(name="unit_length")(x), name="network")

    images = keras.Input((None, None, 3), dtype="uint8", name="images")
    prepare: Any = Prepare(side, size, backbone.aspect, name="prepare")
    return keras.Model(images, network(prepare(images)), name="encoder")


def load_encoder(path: str | os.PathLike[str]) -> keras.Model:
    """Loads an encoder that a run has written, or `save` of what `build_encoder` returned.

    Args:
        path: The `encoder.keras` file.

    Raises:
        DataError: The file is damaged, or not an encoder.

    Example:
        >>> encoder = dml.build_encoder(dml.backbones.Conv4(input_size=16, resize_side=16))
        >>> encoder.save("encoder.keras")
        >>> dml.load_encoder("encoder.keras").output_shape
        (None, 512)
    """
    return load_model(path, "an encoder")
