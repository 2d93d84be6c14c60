"""Parameters are counted by hand."""

import keras
import pytest
from keras import layers

from dml.backbones import Conv4
from dml.backbones._freezing import freeze
from dml.backbones._lora import enable_lora
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.runs._parameters import Parameters


@pytest.fixture
def network():
    """16 parameters of a dense layer, 8 of a normalisation with 8 statistics, 10 of another."""
    inputs = keras.Input((3,))
    x = layers.BatchNormalization()(layers.Dense(4)(inputs))
    return keras.Model(inputs, layers.Dense(2)(x))


def test_all_are_trained_without_statistics(network):
    found = Parameters.of(network, whole=True)
    assert found == Parameters(trained=34, encoder=34)
    assert str(found) == "all 34 parameters"


def test_frozen_ones_are_the_encoders_only(network):
    freeze(network, network.layers[1].weights)
    assert Parameters.of(network, whole=True) == Parameters(trained=18, encoder=34)


def test_factors_are_trained_and_no_parameters_of_the_encoder(network):
    enable_lora(network, 1)  # 3 + 4 and 4 + 2
    assert Parameters.of(network, whole=True) == Parameters(trained=13, encoder=34)


def test_a_head_stage_trains_the_embedding():
    encoder = build_encoder(Conv4(filters=8), EmbeddingOptions(dim=5))
    found = Parameters.of(encoder, whole=False)
    assert found.trained == 8 * 5 + 5
    # Per block a kernel, and scale and offset of the normalisation.
    assert found.encoder == (27 + 3 * 72) * 8 + 4 * 2 * 8 + found.trained


def test_millions_are_rounded():
    assert str(Parameters(49_216, 2_376_500)) == "49,216 of 2.38 million parameters"
    assert str(Parameters(1_830_000, 1_134_126_000)) == (
        "1.83 million of 1,134.13 million parameters"
    )
