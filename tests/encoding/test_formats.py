"""Exported encoders compute the same as the trained one, in each format, at any image size."""

import functools

import keras
import numpy as np
import pytest
from keras.src.applications import convnext

from dml._storage.bundle import Bundle, ExportFormat
from dml.backbones import BACKBONES, Conv4, Hub
from dml.encoding._formats import RUNTIMES, Precision, read_encoder, write_encoder
from dml.encoding._layers import squares
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.errors import OptionError

TENSORFLOW = keras.backend.backend() == "tensorflow"


EXPORTS = [  # other than Keras, and how much vectors may differ
    (ExportFormat.ONNX, Precision.FLOAT32, 1e-5),
    (ExportFormat.ONNX, Precision.HALF, 1e-2),
    (ExportFormat.ONNX, Precision.INT8, 5e-2),
    (ExportFormat.LITERT, Precision.FLOAT32, 1e-5),
    (ExportFormat.SAVED_MODEL, Precision.FLOAT32, 1e-5),
]


@pytest.fixture(scope="module")
def encoder():
    keras.utils.set_random_seed(0)
    return build_encoder(Conv4(input_size=28, resize_side=32), EmbeddingOptions(dim=16))


@pytest.fixture(scope="module")
def written(encoder, tmp_path_factory):
    """Returns a function from a format and a precision to the file or folder of the encoder."""

    @functools.cache
    def path(form, precision):
        file = Bundle(tmp_path_factory.mktemp("bundle"), form).encoder
        write_encoder(encoder, file, form, precision)
        return file

    return path


def images(*shape):
    return np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype("uint8")


@pytest.mark.skipif(not TENSORFLOW, reason="export goes through TensorFlow")
@pytest.mark.slow
@pytest.mark.parametrize(
    "form, precision, error",
    [*EXPORTS, (ExportFormat.KERAS, Precision.FLOAT32, 1e-6)],
)
def test_computes_what_was_trained(encoder, written, form, precision, error):
    run = read_encoder(written(form, precision), form)
    for shape in [(3, 32, 32), (2, 50, 90), (1, 20, 13)]:
        x = images(*shape)
        np.testing.assert_allclose(run(x), np.asarray(encoder(x)), atol=error)


@pytest.mark.skipif(not TENSORFLOW, reason="export goes through TensorFlow")
@pytest.mark.slow
@pytest.mark.parametrize("form, precision, error", EXPORTS)
def test_a_transformer_computes_what_was_trained(tmp_path, form, precision, error):
    tiny = pytest.importorskip("tests.backbones.tiny")
    tiny.write_preset("vit", tmp_path / "preset")
    backbone = Hub(preset=str(tmp_path / "preset"), input_size=24, resize_side=32)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=0, pooling="cls+average"))
    path = Bundle(tmp_path, form).encoder
    write_encoder(encoder, path, form, precision)
    run = read_encoder(path, form)
    for shape in [(3, 32, 32), (1, 50, 90)]:
        x = images(*shape)
        np.testing.assert_allclose(run(x), np.asarray(encoder(x)), atol=error)


@pytest.mark.skipif(not TENSORFLOW, reason="export goes through TensorFlow")
@pytest.mark.slow
@pytest.mark.parametrize("name", ["mobilenet_v5", "convnext_tiny"])
def test_grouped_convolutions_and_constants_compute_what_was_trained(tmp_path, monkeypatch, name):
    tiny = pytest.importorskip("tests.backbones.tiny")
    if name == "mobilenet_v5":
        tiny.write_preset(name, tmp_path / "preset")
        backbone = Hub(preset=str(tmp_path / "preset"))
    else:  # a block of eight channels in each stage, as the whole network takes a minute to export
        smaller = {"depths": [1] * 4, "projection_dims": [8] * 4, "default_size": 64}
        monkeypatch.setitem(convnext.MODEL_CONFIGS, name.removeprefix("convnext_"), smaller)
        backbone = BACKBONES[name](weights="none", input_size=64, resize_side=64)
    encoder = build_encoder(backbone, EmbeddingOptions(dim=8))
    scales = [w for w in encoder.weights if "layer_scale" in w.path]
    assert len(scales) == 4 * (name == "convnext_tiny")
    for scale in scales:  # 1e-6 at first, which would hide what the blocks compute
        scale.assign(keras.ops.ones_like(scale))
    write_encoder(encoder, tmp_path / "encoder.onnx", ExportFormat.ONNX)
    run, x = read_encoder(tmp_path / "encoder.onnx", ExportFormat.ONNX), images(2, 70, 80)
    np.testing.assert_allclose(run(x), np.asarray(encoder(x)), atol=1e-5)


@pytest.mark.skipif(not TENSORFLOW, reason="export goes through TensorFlow")
@pytest.mark.slow
def test_an_operation_without_a_twin_in_onnx_is_one_line(encoder, tmp_path, capfd):
    further = keras.Model(encoder.input, keras.ops.erfinv(encoder.output))
    with pytest.raises(OptionError, match=r"another format than onnx: .*Erfinv"):
        write_encoder(further, tmp_path / "encoder.onnx", ExportFormat.ONNX)
    assert not list(tmp_path.glob("*.onnx"))
    assert capfd.readouterr().err == ""


@pytest.mark.skipif(not TENSORFLOW, reason="export goes through TensorFlow")
@pytest.mark.slow
def test_smaller_precisions_are_smaller(written):
    paths = {precision: written(ExportFormat.ONNX, precision) for precision in Precision}
    sizes = {precision: path.stat().st_size for precision, path in paths.items()}
    assert sizes["int8"] < sizes["half"] < sizes["float32"]


def test_refuses_what_there_is_not(encoder, tmp_path):
    text = "precision must be float32 in the format litert; got half, which onnx has"
    with pytest.raises(OptionError, match=text):
        write_encoder(encoder, tmp_path / "x", ExportFormat.LITERT, Precision.HALF)


@pytest.mark.skipif(TENSORFLOW, reason="export goes through TensorFlow")
def test_names_the_backend_that_exports(encoder, tmp_path):
    with pytest.raises(OptionError, match="backend must be tensorflow to export to onnx"):
        write_encoder(encoder, tmp_path / "x", ExportFormat.ONNX)


def test_every_format_has_a_runtime_and_a_file_of_its_own(tmp_path):
    assert set(RUNTIMES) == set(ExportFormat)
    assert len({Bundle(tmp_path, form).encoder for form in ExportFormat}) == len(ExportFormat)


@pytest.mark.parametrize("aspect", ["keep", "stretch"])
@pytest.mark.parametrize("size", [(60, 90), (90, 60), (20, 13), (32, 32), (333, 47)])
def test_squares_are_those_of_the_backends_own_resizing(size, aspect):
    x = images(2, *size).astype("float32")
    expected = keras.ops.image.resize(
        x, (32, 32), antialias=True, crop_to_aspect_ratio=aspect == "keep"
    )
    found = keras.ops.convert_to_numpy(squares(x, 32, aspect))
    np.testing.assert_allclose(found, keras.ops.convert_to_numpy(expected), atol=0.01)
