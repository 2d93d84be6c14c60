"""Preprocessing is built in: any size, any batch, the same unit vectors."""

import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.encoding._pooling import POOLINGS
from dml.encoding.encoder import EmbeddingOptions, build_encoder, load_encoder


def images(count=3, height=50, width=40, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, height, width, 3), dtype="uint8")


def embed(encoder, x):
    return keras.ops.convert_to_numpy(encoder(x))


@pytest.fixture(scope="module")
def encoder():
    return build_encoder(Conv4(input_size=32, resize_side=36), EmbeddingOptions(dim=8))


def test_calling_predicting_and_single_images_agree(encoder):
    # Keras' own preprocessing layers once switched BatchNormalization to training here.
    x = images()
    vectors = encoder.predict(x, verbose=0)
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(embed(encoder, x), vectors, atol=1e-5)
    np.testing.assert_allclose(embed(encoder, x[:1]), vectors[:1], atol=1e-5)


def test_saves_and_loads(encoder, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    copy = load_encoder(tmp_path / "encoder.keras")
    np.testing.assert_allclose(embed(copy, images()), embed(encoder, images()), atol=1e-6)
    wanted = copy.get_layer("prepare")
    assert (wanted.resize_side, wanted.input_size, wanted.aspect) == (36, 32, "keep")


@pytest.mark.slow
def test_loads_where_nothing_else_of_dml_is_imported(encoder, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    code = f"import dml; dml.load_encoder({str(tmp_path / 'encoder.keras')!r})"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_a_damaged_file_is_named(tmp_path):
    path = tmp_path / "encoder.keras"
    path.write_bytes(b"no zip")
    with pytest.raises(ValueError, match=r"encoder\.keras: can't be read as an encoder"):
        load_encoder(path)


def test_an_untrusted_file_runs_no_code(tmp_path, monkeypatch):
    inputs = keras.Input((2,))
    path, foreign = tmp_path / "lambda.keras", tmp_path / "foreign.keras"
    keras.Model(inputs, keras.layers.Lambda(lambda x: x)(inputs)).save(path)
    with pytest.raises(ValueError, match=r"can't be read as an encoder .*Lambda"):
        load_encoder(path)
    keras.Model(inputs, keras.layers.Dense(2)(inputs)).save(path)
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'trace')!r}, 'w')\nclass Dense: pass")
    monkeypatch.syspath_prepend(tmp_path)
    with zipfile.ZipFile(path) as read, zipfile.ZipFile(foreign, "w") as write:
        for name in read.namelist():
            data = read.read(name)
            found = b'"module": "keras.layers", "class_name": "Dense"'
            assert name != "config.json" or found in data
            write.writestr(name, data.replace(found, b'"module": "evil", "class_name": "Dense"'))
    with pytest.raises(ValueError, match="can't be read as an encoder"):
        load_encoder(foreign)
    assert not (tmp_path / "trace").exists()


@pytest.mark.parametrize("pooling", [name for name in POOLINGS if "cls" not in name])
def test_every_pooling_gives_unit_vectors(pooling):
    options = EmbeddingOptions(dim=4, pooling=pooling, layer_norm=True)
    vectors = embed(build_encoder(Conv4(input_size=32, resize_side=32), options), images())
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)


def test_dim_zero_keeps_the_pooled_features():
    encoder = build_encoder(Conv4(input_size=32, resize_side=32), EmbeddingOptions(dim=0))
    assert encoder.output_shape == (None, 64)


@pytest.mark.parametrize("options", [{"dim": -1}, {"pooling": "mean"}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        EmbeddingOptions(**options)


def test_the_layers_keep_their_names_when_saved(tmp_path):
    made = build_encoder(Conv4(input_size=16, resize_side=16, filters=4), EmbeddingOptions(dim=4))
    made.save(tmp_path / "encoder.keras")
    networks = [e.get_layer("network") for e in (made, load_encoder(tmp_path / "encoder.keras"))]
    assert [x.name for x in networks[0].layers] == [x.name for x in networks[1].layers]
