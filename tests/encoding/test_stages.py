"""An encoder is its features followed by its head, with shared layers."""

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.encoding._interface import preparation_of
from dml.encoding._stages import (
    feature_encoder,
    features_of,
    head_of,
    is_head,
    without_length,
)
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import OptionError


def images(count=3, side=32, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype="uint8")


def numbers(x):
    return keras.ops.convert_to_numpy(x)


@pytest.mark.parametrize(
    "options",
    [
        EmbeddingOptions(dim=8),
        EmbeddingOptions(dim=8, pooling="gem", layer_norm=True),
        EmbeddingOptions(dim=0),
        EmbeddingOptions(dim=0, layer_norm=True),
    ],
)
def test_the_head_of_the_features_is_the_encoder(options):
    encoder = build_encoder(Conv4(input_size=32, resize_side=32), options)
    for _ in range(2):  # layers may be called again
        pooled = features_of(encoder)(images())
        assert pooled.shape == (3, 64)
        np.testing.assert_allclose(
            numbers(head_of(encoder)(pooled)), numbers(encoder(images())), atol=1e-6
        )


def test_training_the_head_trains_the_encoder():
    encoder = build_encoder(Conv4(input_size=32, resize_side=32), EmbeddingOptions(dim=8))
    head = head_of(encoder)
    assert [v.shape for v in head.trainable_variables] == [(64, 8), (8,)]
    before = numbers(encoder(images()))
    head.trainable_variables[0].assign(np.eye(64, 8))
    after = numbers(encoder(images()))
    assert np.abs(after - before).max() > 0.01
    pooled = numbers(features_of(encoder)(images()))[:, :8]
    expected = pooled / np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(after, expected, atol=1e-6)


@pytest.mark.parametrize(
    "options", [EmbeddingOptions(dim=8, layer_norm=True), EmbeddingOptions(dim=0)]
)
def test_vectors_without_unit_length_are_those_before_it(options):
    encoder = build_encoder(Conv4(input_size=32, resize_side=32), options)
    pooled = features_of(encoder)(images())
    head = head_of(encoder)
    long = numbers(without_length(encoder)(images()))
    np.testing.assert_allclose(numbers(without_length(head)(pooled)), long, rtol=1e-5, atol=1e-6)
    assert (np.abs(np.linalg.norm(long, axis=1) - 1) > 0.01).any()
    unit = long / np.linalg.norm(long, axis=1, keepdims=True)
    np.testing.assert_allclose(unit, numbers(head(pooled)), atol=1e-6)
    assert is_head(head) and not is_head(encoder)


def test_features_of_images_are_those_of_their_crops():
    encoder = build_encoder(Conv4(input_size=32, resize_side=36), EmbeddingOptions(dim=8))
    x = images(side=40)
    expected = numbers(features_of(encoder)(encoder.get_layer("prepare")(x)))
    np.testing.assert_allclose(numbers(feature_encoder(encoder)(x)), expected, atol=1e-6)
    assert preparation_of(feature_encoder(encoder)) == preparation_of(encoder)


def test_other_models_are_refused():
    model = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten()])
    for stage in (features_of, head_of, feature_encoder, without_length):
        with pytest.raises(OptionError, match="encoder must be a model of"):
            stage(model)
