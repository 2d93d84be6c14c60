"""An exported encoder gives what the Keras model gives, and says what is wrong with its files."""

import json
import shutil

import numpy as np
import pytest

from dml.onnx_encoder import OnnxEncoder
from tests.bundles import write_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write_bundle(tmp_path_factory.mktemp("bundles") / "bundle")


def test_embeds_squares_and_images_of_any_size_to_unit_vectors(bundle):
    encoder = OnnxEncoder(bundle)
    rng = np.random.default_rng(0)
    for shape in [(3, 20, 20, 3), (1, 37, 90, 3), (2, 8, 8, 3)]:
        vectors = encoder.predict_on_batch(rng.integers(0, 256, shape).astype("uint8"))
        assert vectors.shape == (shape[0], encoder.dimension) and vectors.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


def test_threshold(bundle, tmp_path):
    encoder = OnnxEncoder(bundle)
    assert encoder.threshold("calibrated") == 0.5 and encoder.threshold("0.25") == 0.25
    for wrong in ("high", "2", "nan"):
        with pytest.raises(ValueError, match="a threshold is 'calibrated' or a number"):
            encoder.threshold(wrong)
    both = {name: {"similarity": x} for name, x in {"false_accepts": 0.5, "precision": 0.7}.items()}
    both = OnnxEncoder(write_bundle(tmp_path / "both", thresholds=both))
    assert both.threshold("calibrated") == 0.7
    bare = OnnxEncoder(write_bundle(tmp_path / "bare", thresholds={}))
    with pytest.raises(ValueError, match="no calibrated threshold"):
        bare.threshold("calibrated")


def test_refuses_damaged_bundles(bundle, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"is no bundle: dml\.json is missing"):
        OnnxEncoder(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with open(copy / "encoder.onnx", "r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2")
    with pytest.raises(ValueError, match=r"encoder\.onnx: damaged"):
        OnnxEncoder(copy)
    described = json.loads((bundle / "dml.json").read_text())
    del described["preparation"]
    shutil.copy(bundle / "encoder.onnx", copy)
    (copy / "dml.json").write_text(json.dumps(described))
    with pytest.raises(ValueError, match="damaged: 'preparation'"):
        OnnxEncoder(copy)


def test_a_file_that_is_no_encoder_is_refused(tmp_path):
    path = write_bundle(tmp_path / "text", contents=b"not a graph")
    with pytest.raises(ValueError, match="ONNX Runtime can't load it"):
        OnnxEncoder(path)
