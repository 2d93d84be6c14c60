"""An exported encoder computes the same as the Keras model, and reports damaged files."""

import json
import os
import shutil

import numpy as np
import onnx
import pytest

from dml._storage.bundle import Bundle
from dml._storage.records import sha256, write_sealed
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError
from tests.bundles import graph, threshold, write_bundle


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


def test_its_threshold_is_that_of_a_precision_or_else_of_a_false_accept_rate(bundle, tmp_path):
    assert OnnxEncoder(bundle).calibrated_threshold().similarity == 0.5
    both = (threshold("far", 0.5), threshold("precision", 0.7))
    both = OnnxEncoder(write_bundle(tmp_path / "both", thresholds=both))
    assert [one.similarity for one in both.thresholds] == [0.5, 0.7]
    assert both.calibrated_threshold() == both.thresholds[1]
    bare = OnnxEncoder(write_bundle(tmp_path / "bare", thresholds=()))
    with pytest.raises(DataError, match="no calibrated threshold"):
        bare.calibrated_threshold()


def test_other_thresholds_are_another_bundle(tmp_path):
    encoder = OnnxEncoder(write_bundle(tmp_path / "bundle"))
    assert not encoder.is_replaced()
    shutil.rmtree(tmp_path / "bundle")
    assert not encoder.is_replaced()
    other = write_bundle(tmp_path / "bundle", thresholds=(threshold(similarity=0.25),))
    assert encoder.is_replaced() and OnnxEncoder(other).sha256 == encoder.sha256


def test_refuses_damaged_bundles(bundle, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"not a bundle: dml\.json is missing"):
        OnnxEncoder(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    with open(copy / "encoder.onnx", "r+b") as file:
        file.seek(100)
        file.write(b"\0\1\2")
    with pytest.raises(ValueError, match=r"encoder\.onnx: damaged"):
        OnnxEncoder(copy)


def described(bundle, copy, **changes):
    """Copies a bundle with another description, whose own SHA-256 fits; returns the copy."""
    shutil.copytree(bundle, copy)
    value = json.loads((copy / "dml.json").read_text())
    del value["sha256"]
    write_sealed(copy / "dml.json", {k: v for k, v in {**value, **changes}.items() if v != "gone"})
    return copy


SQUARE = {"resize_side": 20, "input_size": 20, "aspect": "keep"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"preparation": "gone"}, "damaged: 'preparation'"),
        ({"preparation": {**SQUARE, "resize_side": 0}}, r"1 <= input_size <= resize_side <= 8192"),
        ({"preparation": {**SQUARE, "resize_side": 10**9}}, r"got \(20, 1000000000\)"),
        ({"preparation": {**SQUARE, "input_size": 2.5}}, r"got \(2\.5, 20\)"),
        ({"preparation": {**SQUARE, "aspect": "kept"}}, "aspect must be one of keep, stretch"),
        ({"preparation": {**SQUARE, "more": 1}}, "unexpected keyword"),
        ({"preparation": 7}, "damaged"),
        ({"dimension": 7}, "an encoder maps uint8 images to vectors of 7 numbers"),
        ({"dimension": "six"}, "damaged"),
        (
            {"thresholds": [{**threshold(), "similarity": 7}]},
            r"damaged: thresholds\[0\]: similarity must be in \[-1, 1\]; got 7",
        ),
        (
            {"thresholds": [threshold(), {**threshold(), "kind": "recall"}]},
            r"thresholds\[1\]: kind must be precision or far; got 'recall'",
        ),
        ({"thresholds": [0.5]}, r"thresholds\[0\]: threshold must be an object"),
        ({"thresholds": {"precision": 0.5}}, "thresholds must be a list"),
        ({"thresholds": "gone"}, "damaged: 'thresholds'"),
        ({"files": {}}, r"encoder\.onnx is not in it"),
        ({"files": {"encoder.onnx": "0"}}, r"encoder\.onnx: damaged"),
        ({"files": {"../diary.txt": "0"}}, r"names a file outside its folder: '\.\./diary\.txt'"),
        ({"files": {"/etc/passwd": "0"}}, "names a file outside its folder"),
        ({"schema": 1}, "of another version of dml: .*; export the run again"),
    ],
)
def test_a_description_that_can_not_be_is_refused(bundle, tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as told:
        OnnxEncoder(described(bundle, tmp_path / "copy", **changes))
    assert "dml.json" in str(told.value) or "encoder.onnx" in str(told.value)


def test_a_flipped_bit_of_a_description_is_found(bundle, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(bundle, copy)
    whole = (copy / "dml.json").read_bytes()
    for place in range(len(whole)):
        data = bytearray(whole)
        data[place] ^= 1 << place % 8
        try:
            same = json.loads(data) == json.loads(whole)  # another space means the same
        except ValueError:
            same = False
        (copy / "dml.json").write_bytes(data)
        if not same:
            with pytest.raises(ValueError, match=r"damaged|not valid JSON"):
                OnnxEncoder(copy)


def test_what_decides_a_vector_makes_another_encoder(bundle, tmp_path):
    encoder = OnnxEncoder(bundle)
    other = {"resize_side": 22, "input_size": 20, "aspect": "keep"}
    assert (
        OnnxEncoder(described(bundle, tmp_path / "a", preparation=other)).sha256 != encoder.sha256
    )
    assert OnnxEncoder(described(bundle, tmp_path / "b", thresholds=[])).sha256 == encoder.sha256


def test_pipes_are_not_read(bundle, tmp_path):
    for name in ("dml.json", "encoder.onnx"):
        copy = tmp_path / name
        shutil.copytree(bundle, copy)
        (copy / name).unlink()
        os.mkfifo(copy / name)
        with pytest.raises(ValueError, match="not a regular file"):
            OnnxEncoder(copy)


def test_weights_in_a_file_of_their_own_are_covered(tmp_path):
    bundle = write_bundle(tmp_path / "bundle", contents=graph(0))
    model = onnx.load(bundle / "encoder.onnx")
    (bundle / "encoder.onnx").unlink()
    onnx.save(
        model, bundle / "encoder.onnx", save_as_external_data=True, location="weights.bin",
        size_threshold=60,
    )  # fmt: skip
    kept = json.loads((bundle / "dml.json").read_text())
    about = {key: kept[key] for key in ("dimension", "preparation", "thresholds")}
    with pytest.raises(ValueError, match=r"encoder\.onnx: damaged"):
        OnnxEncoder(bundle)
    Bundle(bundle).describe(about)
    encoder = OnnxEncoder(bundle)
    images = np.random.default_rng(0).integers(0, 256, (2, 20, 20, 3)).astype("uint8")
    plain = OnnxEncoder(write_bundle(tmp_path / "plain", contents=graph(0)))
    np.testing.assert_allclose(
        encoder.predict_on_batch(images), plain.predict_on_batch(images), atol=1e-6
    )
    encoder.bundle.copy(tmp_path / "copied")
    assert OnnxEncoder(tmp_path / "copied").sha256 == encoder.sha256
    weights = bundle / "weights.bin"
    whole = weights.read_bytes()
    weights.write_bytes(whole[:-1] + bytes([whole[-1] ^ 64]))
    with pytest.raises(ValueError, match=r"weights\.bin: damaged"):
        OnnxEncoder(bundle)
    only = {"encoder.onnx": sha256(bundle / "encoder.onnx")}
    with pytest.raises(ValueError, match=r"encoder\.onnx: reads weights\.bin, which dml\.json"):
        OnnxEncoder(described(bundle, tmp_path / "other", files=only))


def test_a_file_that_nothing_reads_is_no_matter(bundle, tmp_path):
    copy = described(bundle, tmp_path / "copy")
    (copy / "README.md").write_text("of cats")
    assert OnnxEncoder(copy).dimension == 6


def test_a_file_that_is_no_encoder_is_refused(tmp_path):
    path = write_bundle(tmp_path / "text", contents=b"not a graph")
    with pytest.raises(ValueError, match="ONNX Runtime can't load it"):
        OnnxEncoder(path)
