"""Pooling equals its definition, and refuses what a backbone does not return."""

import re

import keras
import numpy as np
import pytest

from dml.encoding._pooling import POOLINGS, pooled
from dml.errors import OptionError

RNG = np.random.default_rng(0)
TOKEN = RNG.normal(size=(2, 4)).astype("float32")
GRID = RNG.uniform(0.1, 1, size=(2, 3, 3, 4)).astype("float32")
AVERAGE, MAX = GRID.mean(axis=(1, 2)), GRID.max(axis=(1, 2))
GEM = (GRID.astype("float64") ** 3).mean(axis=(1, 2)) ** (1 / 3)  # the exponent starts at 3


def result(features, pooling):
    parts = features if isinstance(features, list) else [features]
    inputs = [keras.Input(part.shape[1:]) for part in parts]
    model = keras.Model(inputs, pooled(inputs if len(inputs) > 1 else inputs[0], pooling))
    return keras.ops.convert_to_numpy(model(parts))


@pytest.mark.parametrize(
    "pooling, expected",
    [
        ("auto", TOKEN),
        ("cls", TOKEN),
        ("cls+average", np.concatenate([TOKEN, AVERAGE], axis=1)),
        ("average", AVERAGE),
        ("max", MAX),
        ("average+max", AVERAGE + MAX),
        ("gem", GEM),
    ],
)
def test_of_a_class_token_and_patches(pooling, expected):
    assert pooling in POOLINGS
    np.testing.assert_allclose(result([TOKEN, GRID], pooling), expected, atol=1e-5)


def test_of_a_map_or_a_vector():
    np.testing.assert_allclose(result(GRID, "auto"), AVERAGE, atol=1e-6)
    np.testing.assert_allclose(result(TOKEN, "auto"), TOKEN)


@pytest.mark.parametrize("pooling", ["cls", "cls+average"])
def test_a_map_has_no_class_token(pooling):
    with pytest.raises(OptionError, match=f"no class token; got '{re.escape(pooling)}'"):
        pooled(keras.Input((3, 3, 4)), pooling)


@pytest.mark.parametrize("pooling", ["average", "max", "gem", "average+max", "cls+average"])
def test_a_vector_has_no_map(pooling):
    with pytest.raises(OptionError, match="without a map; got"):
        pooled(keras.Input((4,)), pooling)


def test_other_features_are_refused():
    with pytest.raises(OptionError, match=r"this one returns \(None, 9, 4\)"):
        pooled(keras.Input((9, 4)), "auto")
