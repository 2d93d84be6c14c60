"""Weights from files: valid ones load, others are reported in one line."""

import http.client
import os
import random
import urllib.error
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest

from dml.backbones import BACKBONES, Conv4
from dml.backbones._scaling import InputScaling
from dml.backbones._weights import load_model
from dml.cli import main
from dml.datasets import DATASETS
from dml.encoding.embed import embed_images
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import OptionError
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
    with pytest.raises(ValueError, match="are of another architecture"):
        other.network()


def test_names_a_missing_and_a_damaged_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Conv4(weights="nowhere.h5").network()
    path = tmp_path / "a.weights.h5"
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="not a Keras weights file"):
        Conv4(weights=str(path)).network()


@pytest.mark.slow
def test_a_damaged_file_loads_whole_or_is_named(tmp_path):
    path, small = tmp_path / "a.weights.h5", {"input_size": 16, "resize_side": 16, "filters": 4}
    Conv4(**small).network().save_weights(path)
    whole, rng, refused = path.read_bytes(), random.Random(0), 0
    for trial in range(60):
        data = bytearray(whole)
        place = rng.randrange(4096) if trial % 3 else rng.randrange(len(data))  # most: structure
        if trial % 5 == 0:
            del data[place:]
        else:
            data[place] ^= 1 << rng.randrange(8)
        path.write_bytes(data)
        try:
            Conv4(**small, weights=str(path)).network()
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 12  # those that are cut, at least


def test_numbers_that_are_none_are_refused(tmp_path):
    path, network = tmp_path / "a.weights.h5", Conv4(input_size=16, resize_side=16).network()
    network.weights[1].assign(np.full(64, np.nan))
    network.save_weights(path)
    with pytest.raises(ValueError, match=r"damaged \(at .*gamma"):
        Conv4(input_size=16, resize_side=16, weights=str(path)).network()


@pytest.mark.parametrize(
    "name, error, said",
    [  # networks of few layers, which are built fast
        ("vgg16", urllib.error.URLError("Name or service not known"), "Name or service"),
        ("vgg16", urllib.error.URLError(OSError(111, "refused")), "refused"),
        ("vgg16", urllib.error.HTTPError("https://a", 404, "Not Found", {}, None), "404"),
        ("vgg16", TimeoutError("timed out"), "timed out"),
        ("vgg19", urllib.error.ContentTooShortError("got only 5 of 9 bytes", b""), "5 of 9"),
        ("vgg16", http.client.IncompleteRead(b"12"), "2 bytes read"),
        ("vgg16", None, "hash does not match"),  # a file cut short
        ("mobilenet", None, "h5"),  # the same, where Keras knows no hash
    ],
)
def test_without_a_network_imagenet_weights_are_one_line(
    tmp_path, monkeypatch, capsys, name, error, said
):
    def fetch(address, target, hook):
        Path(target).write_bytes(b"half of them")
        if error is not None:
            raise error

    from keras.src.utils import file_utils  # what a server would be asked through

    monkeypatch.setattr(file_utils, "urlretrieve", fetch)
    monkeypatch.setattr(file_utils.config, "keras_home", lambda: str(tmp_path / "kept"))
    words = ["train", "glyphs", "--backbone.name", name, "--out", str(tmp_path / "run")]
    sides = ["--backbone.input_size", "32", "--backbone.resize_side", "32"]
    assert main([*words, *sides, "--sampler.name", "shuffle"]) == 2
    line = capsys.readouterr().err
    assert line.startswith("dml: the ImageNet weights of ") and line.count("\n") == 1
    assert said in line and "--backbone.weights none" in line
    assert not (tmp_path / "run").exists()


def test_a_damaged_model_of_ones_own_is_named(tmp_path):
    path = tmp_path / "own.keras"
    keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Conv2D(2, 3)]).save(path)
    for data in (path.read_bytes()[:900], b"PK\x03\x04" + bytes(200), b""):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"own\.keras: can't be read as a Keras model"):
            BACKBONES["own"](path=str(path), input_size=16, resize_side=16).network()


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
        ("mobilenet", 0.75, FILE, 31.4),
        ("mobilenet_v2", 0.35, "weights/mobilenet_v2_0.35_224_imagenet_notop.weights.h5", 21.6),
    ],
)
def test_frozen_weights_retrieve_unseen_cars(name, alpha, file, expected):
    # Of averaged features, measured with keras.applications, Pillow and scikit-learn alone. A wrong
    # input scaling or weights that did not load show here at once.
    items = DATASETS["cars196-half"]().items().select("test")
    items = items.take(np.arange(0, len(items), 4))
    sides = {"input_size": 128, "resize_side": 146, "aspect": "stretch"}  # 256 to 224, scaled
    backbone = BACKBONES[name](weights=file, alpha=alpha, **sides)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=0))
    found = retrieval(embed_images(encoder, items.paths), items.labels, ks=(1,))
    print(f"{name}: frozen R@1 {100 * found.recall[1]:.1f}, expected {expected}")
    assert 100 * found.recall[1] == pytest.approx(expected, abs=2.0)


def test_a_model_that_unpacks_to_a_thousand_times_its_size_is_refused(tmp_path):
    path = tmp_path / "encoder.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("config.json", " " * 2**20)
    with pytest.raises(
        ValueError, match=r"encoder.keras: can't be read as .* unpacks to 1,048,576"
    ):
        load_model(path, "an encoder")


@pytest.mark.parametrize(
    "options, said",
    [
        ({"alpha": 0.6}, "alpha can be one of"),
        ({"weights": "none", "input_size": 8, "resize_side": 8}, "Input size must be at least"),
    ],
)
def test_what_keras_refuses_is_one_line(options, said):
    with pytest.raises(OptionError, match=f"backbone is refused by Keras: .*{said}") as raised:
        BACKBONES["mobilenet"](**options).network()
    assert "\n" not in str(raised.value)
