"""Weights from files: the right ones load, others are refused in one line."""

import os
from pathlib import Path

import numpy as np
import pytest

from dml.backbones import BACKBONES, Conv4
from dml.backbones.scaling import InputScaling
from dml.datasets import DATASETS
from dml.embed import embed_images
from dml.encoder import EmbeddingOptions, build_encoder
from dml.evaluation import retrieval

FILE = "weights/mobilenet_0.75_224_imagenet_notop.weights.h5"
needs_weights = pytest.mark.skipif(
    not (Path(os.environ.get("DML_DATA", "/nowhere")) / FILE).exists(),
    reason=f"DML_DATA is not set or holds no {FILE}",
)


def test_round_trip(tmp_path):
    path = tmp_path / "a.weights.h5"
    first = Conv4(input_size=16, resize_side=16).network()
    first.save_weights(path)
    second = Conv4(input_size=16, resize_side=16, weights=str(path)).network()
    for a, b in zip(first.weights, second.weights, strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_refuses_weights_of_another_architecture(tmp_path):
    path = tmp_path / "a.weights.h5"
    Conv4(input_size=16, resize_side=16).network().save_weights(path)
    other = BACKBONES["mobilenet"](weights=str(path), input_size=32, resize_side=32)
    with pytest.raises(ValueError, match="belong to another architecture"):
        other.network()


def test_names_a_missing_and_a_damaged_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Conv4(weights="nowhere.h5").network()
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="not a Keras weights file"):
        Conv4(weights=str(path)).network()


@needs_weights
def test_the_width_must_match():
    with pytest.raises(ValueError, match="another architecture"):
        BACKBONES["mobilenet"](alpha=0.5, weights=FILE, input_size=128).network()


@pytest.mark.parametrize("mode", ["tf", "torch", "caffe"])
def test_scaling_is_what_keras_applications_does(mode):
    from keras.applications.imagenet_utils import preprocess_input

    x = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3)).astype("float32")
    expected = preprocess_input(x.copy(), data_format="channels_last", mode=mode)
    np.testing.assert_allclose(np.asarray(InputScaling(mode)(x)), expected, atol=1e-4)


@pytest.mark.slow
@needs_weights
@pytest.mark.parametrize(
    "name, alpha, file, expected",
    [
        ("mobilenet", 0.75, FILE, 45.0),
        ("mobilenet_v2", 0.35, "weights/mobilenet_v2_0.35_224_imagenet_notop.weights.h5", 31.5),
    ],
)
def test_frozen_weights_retrieve_unseen_cars(name, alpha, file, expected):
    # Both figures are of averaged features at 128 px, without training (the data's README). A
    # wrong input scaling or weights that did not load show here at once.
    items = DATASETS["cars196-half"]().items().select("test")
    sides = {"input_size": 128, "resize_side": 146, "aspect": "stretch"}  # 256 to 224, scaled
    backbone = BACKBONES[name](weights=file, alpha=alpha, **sides)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=0))
    found = retrieval(embed_images(encoder, items.paths), items.labels, ks=(1,))
    print(f"{name}: frozen R@1 {100 * found.recall[1]:.1f}, expected {expected}")
    assert 100 * found.recall[1] == pytest.approx(expected, abs=1.0)
