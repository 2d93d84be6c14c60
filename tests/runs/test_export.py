"""`dml export` writes a bundle that agrees with the trained encoder, or nothing."""

import dataclasses
import json

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.datasets import RecordedItems
from dml.encoding.embed import embed_images
from dml.encoding.encoder import load_encoder
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError, OccupiedError, OptionError
from dml.reporting import SILENT
from dml.runs import Run, _export
from dml.runs._export import ExportCheck, Tolerance, check_of, compared_items, whole_classes
from dml.runs._splits import TestData
from tests.runs.running import Lines, train

pytestmark = pytest.mark.usefixtures("eager_training")
ON_TENSORFLOW = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="TensorFlow writes ONNX"
)

PATHS = [f"glyph:seed=0,size=28,class={c},sample=0" for c in range(5)]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    flags = ["--dataset.classes", "12", "--dataset.samples", "6", "--training.epochs", "1"]
    flags += ["--sampler.classes_per_batch", "4", "--sampler.images_per_class", "2"]
    return train("glyphs", flags, tmp_path_factory.mktemp("runs") / "run").path


@pytest.mark.slow
def test_a_bundle_of_keras_is_written_on_every_backend(path, tmp_path):
    run = Run(path)
    report = run.export("keras", out=tmp_path / "bundle")
    assert report.check.difference < 1e-5
    bundled = load_encoder(report.path / "encoder.keras")
    np.testing.assert_allclose(
        embed_images(bundled, PATHS), embed_images(run.encoder(), PATHS), atol=1e-6
    )


@ON_TENSORFLOW
@pytest.mark.slow
def test_a_bundle_gives_the_runs_vectors(path, tmp_path):
    lines = Lines()
    run = Run(path, reporter=lines)
    written = run.export()
    assert written.path == path / "bundle" and "R@1" in lines[0]
    assert written.bytes == sum(f.stat().st_size for f in written.path.iterdir())
    bundled, trained = OnnxEncoder(written.path), run.encoder()
    np.testing.assert_allclose(
        embed_images(bundled, PATHS), embed_images(trained, PATHS), atol=1e-4
    )
    described = json.loads((written.path / "dml.json").read_text())
    assert described["check"]["overlap_of_the_top_10"] > 0.99
    assert described["thresholds"] == json.loads((path / "metrics.json").read_text())["thresholds"]
    with pytest.raises(OccupiedError, match="already exists"):
        run.export()
    with pytest.raises(OptionError, match="out must name the bundle's folder"):
        run.export(out="")


def test_what_can_not_be_written_is_refused_before_an_image_is_read(path, tmp_path, monkeypatch):
    def read(*_):
        raise AssertionError("the encoder or an image was read")

    monkeypatch.setattr(Run, "encoder", read)
    monkeypatch.setattr("dml.runs._splits.unchanged_items", read)
    run = Run(path)
    with pytest.raises(OccupiedError, match="already exists"):
        run.export(out=tmp_path)
    with pytest.raises(OptionError, match="precision must be float32 in the format litert"):
        run.export("litert", "half", tmp_path / "bundle")
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    with pytest.raises(OptionError, match="backend must be tensorflow to export to onnx"):
        run.export(out=tmp_path / "bundle")


@ON_TENSORFLOW
@pytest.mark.slow
def test_a_failed_check_leaves_nothing(path, tmp_path, monkeypatch):
    real = _export.read_encoder
    monkeypatch.setattr(
        _export, "read_encoder", lambda *a: lambda images: np.roll(real(*a)(images), 1, axis=1)
    )
    with pytest.raises(DataError, match="the exported encoder differs from the trained one"):
        Run(path).export(out=tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_compares_on_images_of_other_splits_where_there_is_no_test(path, monkeypatch):
    folder, recipe = RunFolder(path), Run(path).recipe
    data = TestData(recipe.dataset, is_own=True)
    known = data.read(folder, recipe.training, SILENT)
    recorded = RecordedItems.read(path / "items.parquet").items

    def compared(*splits):
        found = dataclasses.replace(known, items=known.items.select(*splits))
        monkeypatch.setattr(TestData, "read", lambda *_: found)
        return set(compared_items(folder, data, recipe.training, SILENT).ids)

    def ids(split):
        return set(recorded.ids[recorded.splits == split])

    assert compared("test", "val") == ids("test")
    assert compared("val") == ids("val")
    assert compared("query") == ids("train")  # none of these is left
    monkeypatch.setattr(_export, "unchanged_items", lambda *_: (recorded.take([]), None))
    with pytest.raises(DataError, match=r"no image is left to compare .* with --on"):
        compared("query")


TOLERANCE = Tolerance(difference=0.1, recall=0.1, overlap=0.5)


def test_tells_how_far_two_encoders_are():
    vectors = np.eye(8, dtype="float32")[np.repeat(np.arange(4), 2)]
    labels = np.repeat(np.arange(4), 2)
    same = check_of(vectors, vectors, labels, 0.0)
    assert same.difference == 0 and same.overlap_of_the_top_10 == 1 and same.faults(TOLERANCE) == []
    assert check_of(vectors, vectors[::-1].copy(), labels, 0.0).difference == 1
    unknown = check_of(vectors, vectors, labels, float("nan"))
    assert unknown.faults(TOLERANCE)[0].startswith("vectors differ by nan")


def test_near_copies_may_change_places():
    # 5 images, 20 near-copies of each: which 10 of the 19 others come first is chance.
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(5, 64)).repeat(20, axis=0)

    def unit(x):
        return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")

    before = unit(centres + 1e-4 * rng.normal(size=(100, 64)))
    after = unit(before + 1e-7 * rng.normal(size=(100, 64)))
    check = check_of(before, after, np.arange(100) // 20, 0.0)
    assert check.overlap_of_the_top_10 == 1 and check.difference < 1e-6
    assert check.faults(_export.TOLERANCES["float32"]) == []
    # The neighbours of another image are not as near.
    other = check_of(before, np.roll(before, 7, axis=0), np.arange(100) // 20, 0.0)
    assert other.overlap_of_the_top_10 < 0.7


def test_each_tolerance_is_a_reason_of_its_own():
    def check(**changes):
        return ExportCheck(
            **{
                **{"images": 9, "difference": 0.0, "difference_at_any_size": 0.0},
                "recalls": (0.9, 0.9),
                "overlap_of_the_top_10": 1.0,
                **changes,
            }
        ).faults(TOLERANCE)

    assert check() == []
    assert check(difference=0.11) == ["vectors differ by 1.1e-01, more than 1e-01"]
    assert check(difference_at_any_size=0.11) == ["vectors differ by 1.1e-01, more than 1e-01"]
    assert check(recalls=(0.9, 0.75)) == ["R@1 falls by 15.0 points, more than 10"]
    assert check(overlap_of_the_top_10=0.49) == ["fewer than 50 % of the nearest are the same"]


def test_compares_images_of_which_no_two_are_of_one_class():
    vectors = np.eye(4, dtype="float32")
    check = check_of(vectors, vectors, np.arange(4), 0.0)
    assert check.recalls is None and check.overlap_of_the_top_10 == 1
    assert check_of(vectors, vectors, np.zeros(4, int), 0.0).recalls == (1.0, 1.0)  # of one class
    one = check_of(vectors[:1], vectors[:1], np.zeros(1, int), 0.0)
    assert check.faults(TOLERANCE) == one.faults(TOLERANCE) == []
    assert "R@1" not in str(check)
    assert str(one).startswith("1 image through both encoders: vectors")


def test_compares_whole_classes():
    labels = np.repeat(np.arange(30), 70)
    assert len(whole_classes(labels)) == 980
    assert len(whole_classes(np.zeros(5000, int))) == 1000
