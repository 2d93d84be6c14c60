"""The two stages of an encoder: a network of pooled features, and the embedding head on them."""

from typing import Any

import keras

from dml.errors import OptionError

_AFTER_POOLING = ("layer_norm", "embedding", "unit_length")


def features_of(encoder: Any) -> Any:
    """Returns the model from uint8 crops (B, S, S, 3) to pooled features (B, C).

    It shares the encoder's layers.

    Args:
        encoder: A model of `dml.build_encoder`.

    Raises:
        OptionError: It is another model.
    """
    network = _network_of(encoder)
    return keras.Model(network.input, _features(network), name="features")


def head_of(encoder: Any) -> Any:
    """Returns the model from pooled features (B, C) to unit vectors (B, D).

    It shares the encoder's layers: training it trains them.

    Args:
        encoder: As for `features_of`.

    Raises:
        OptionError: It is another model than `dml.build_encoder`'s.
    """
    network = _network_of(encoder)
    features = keras.Input(_features(network).shape[1:], name="pooled")
    x = features
    for name in _AFTER_POOLING:
        layer = _layer(network, name)
        x = x if layer is None else layer(x)
    return keras.Model(features, x, name="head")


def without_length(encoder: Any) -> Any:
    """Returns the model of an encoder's vectors before they are scaled to unit length.

    It shares the encoder's layers.

    Args:
        encoder: A model of `dml.build_encoder`, whose crops it takes; or one of `head_of`.

    Raises:
        OptionError: It is another model.
    """
    if not is_head(encoder):
        network = _network_of(encoder)
        return keras.Model(network.input, network.get_layer("unit_length").input)
    x = encoder.input
    for name in _AFTER_POOLING[:-1]:
        layer = _layer(encoder, name)
        x = x if layer is None else layer(x)
    return keras.Model(encoder.input, x)


def is_head(encoder: Any) -> bool:
    """Returns whether a model is one of `head_of`, which takes pooled features."""
    return getattr(encoder, "name", "") == "head" and _layer(encoder, "unit_length") is not None


def feature_encoder(encoder: Any) -> Any:
    """Returns the model from uint8 images (B, H, W, 3) to pooled features (B, C).

    It shares the encoder's layers. Its vectors are not of unit length.

    Args:
        encoder: As for `features_of`.

    Raises:
        OptionError: It is another model than `dml.build_encoder`'s.
    """
    features = features_of(encoder)
    images = keras.Input(encoder.input_shape[1:], dtype="uint8", name="images")
    crops = encoder.get_layer("prepare")(images)
    return keras.Model(images, features(crops), name="feature_encoder")


def embedding_layer(encoder: Any) -> Any:
    """Returns the embedding layer of an encoder, a `Dense` layer; None if it has none."""
    return _layer(_network_of(encoder), "embedding")


def embedding_input(encoder: Any, features: Any) -> Any:
    """Returns what the embedding layer receives for pooled features (B, C)."""
    layer = _layer(_network_of(encoder), "layer_norm")
    return features if layer is None else layer(features)


def _network_of(encoder):
    network = _layer(encoder, "network")
    if network is None or _layer(network, "unit_length") is None:
        raise OptionError(
            "encoder", "must be a model of dml.build_encoder, whose stages are known by name"
        )
    return network


def _features(network):
    """Returns the pooled features of a network, a symbolic (B, C)."""
    layers = (_layer(network, name) for name in _AFTER_POOLING)
    return next(layer for layer in layers if layer is not None).input


def _layer(model, name):
    """Returns the layer of a model with a name; None if there is none."""
    return next((layer for layer in getattr(model, "layers", ()) if layer.name == name), None)
