"""The contract of every backbone in the registry; large ones are only constructed."""

import inspect
import itertools

import keras
import numpy as np
import pytest

from dml.backbones import BACKBONES, Application
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import OptionError

SMALL = ["conv4", "mobilenet", "mobilenet_v2", "mobilenet_v3_small"]
EACH_FAMILY = ["resnet50_v2", "densenet121", "efficientnet_b0", "inception_v3", "convnext_tiny"]


def small_options(name):
    size = 75 if name == "inception_v3" else 32
    options = {"weights": "none", "input_size": size, "resize_side": size}
    return options | ({"alpha": 0.35} if name == "mobilenet_v2" else {})


@pytest.mark.parametrize(
    "name", sorted(name for name, part in BACKBONES.items() if issubclass(part, Application))
)
def test_names_a_network_of_keras(name):
    assert callable(getattr(keras.applications, BACKBONES[name].constructor))


@pytest.mark.parametrize("name", sorted(BACKBONES))
def test_documents_every_option(name):
    for field in inspect.signature(BACKBONES[name]).parameters:
        assert f"{field}:" in BACKBONES[name].__doc__, f"{name}: document option {field!r}"


@pytest.mark.slow
@pytest.mark.parametrize(
    "name, batch_norm",
    [
        *itertools.product(SMALL, ["train", "frozen", "fixed"]),
        *((name, "frozen") for name in EACH_FAMILY),
    ],
)
def test_a_row_does_not_depend_on_its_batch(name, batch_norm):
    backbone = BACKBONES[name](**small_options(name), batch_norm=batch_norm)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=8))
    side = backbone.input_size
    x = np.random.default_rng(0).integers(0, 256, (3, side, side, 3), dtype="uint8")
    vectors = keras.ops.convert_to_numpy(encoder(x))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = keras.ops.convert_to_numpy(encoder(x[1:2]))
    np.testing.assert_allclose(alone, vectors[1:2], atol=1e-4)


def test_frozen_statistics_do_not_move_but_scale_and_shift_learn():
    backbone = BACKBONES["conv4"](input_size=16, resize_side=16, batch_norm="frozen")
    encoder = build_encoder(backbone, EmbeddingOptions(dim=4))
    before = [v.numpy() for v in encoder.non_trainable_variables if "moving" in v.path]
    encoder(np.full((4, 16, 16, 3), 255, "uint8"), training=True)
    after = [v.numpy() for v in encoder.non_trainable_variables if "moving" in v.path]
    assert before and all((a == b).all() for a, b in zip(before, after, strict=True))
    assert any("gamma" in v.path for v in encoder.trainable_variables)


def test_fixed_normalisation_learns_nothing():
    backbone = BACKBONES["conv4"](input_size=16, resize_side=16, batch_norm="fixed")
    encoder = build_encoder(backbone, EmbeddingOptions(dim=4))
    assert not any("gamma" in v.path or "beta" in v.path for v in encoder.trainable_variables)
    before = [v.numpy() for v in encoder.variables]
    encoder(np.full((4, 16, 16, 3), 255, "uint8"), training=True)
    assert all((a == b.numpy()).all() for a, b in zip(before, encoder.variables, strict=True))


def test_momentum_is_set():
    backbone = BACKBONES["conv4"](input_size=16, resize_side=16, batch_norm_momentum=0.5)
    momenta = {
        layer.momentum
        for layer in backbone.network().layers
        if isinstance(layer, keras.layers.BatchNormalization)
    }
    assert momenta == {0.5}


@pytest.mark.parametrize(
    ("name", "options", "side"),
    [
        ("mobilenet", {}, 256),  # of 224, as is usual for ImageNet
        ("mobilenet", {"input_size": 128}, 146),
        ("mobilenet", {"input_size": 128, "resize_side": 128}, 128),
        ("conv4", {"input_size": 28}, 28),
    ],
)
def test_the_resized_side_follows_the_input_size(name, options, side):
    assert BACKBONES[name](**options).resolved().resize_side == side


def test_a_crop_of_more_than_there_is_is_refused():
    with pytest.raises(OptionError, match="resize_side must be at least input_size, or 0; got 99"):
        BACKBONES["mobilenet"](input_size=100, resize_side=99)
