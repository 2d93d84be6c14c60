"""`dml export` writes a bundle that the trained encoder vouches for, or nothing."""

import json

import numpy as np
import pytest

from dml.cli import main
from dml.commands.export import Tolerance, check, compare, export, say, whole_classes
from dml.encoding import _formats
from dml.encoding.embed import embed_images
from dml.encoding.encoder import load_encoder
from dml.encoding.onnx_encoder import OnnxEncoder

PATHS = [f"glyph:seed=0,size=28,class={c},sample=0" for c in range(5)]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    flags = ["--dataset.classes", "12", "--dataset.samples", "6", "--training.epochs", "1"]
    flags += ["--sampler.classes_per_batch", "4", "--sampler.images_per_class", "2"]
    assert main(["train", "glyphs", "--out", str(path), *flags]) == 0
    return path


@pytest.mark.slow
def test_a_bundle_gives_the_runs_vectors(run, tmp_path):
    lines = []
    path = export(run, report=lines.append)
    assert path == run / "bundle" and "R@1" in lines[0] and "MiB" in lines[1]
    bundled, trained = OnnxEncoder(path), load_encoder(run / "encoder.keras")
    np.testing.assert_allclose(
        embed_images(bundled, PATHS), embed_images(trained, PATHS), atol=1e-4
    )
    described = json.loads((path / "dml.json").read_text())
    assert described["check"]["overlap_of_the_top_10"] > 0.99
    assert described["thresholds"] == json.loads((run / "metrics.json").read_text())["thresholds"]
    with pytest.raises(FileExistsError, match="already exists"):
        export(run)


@pytest.mark.slow
def test_a_failed_check_leaves_nothing(run, tmp_path, monkeypatch, capsys):
    real = _formats.read_encoder
    monkeypatch.setattr(
        _formats, "read_encoder", lambda *a: lambda images: np.roll(real(*a)(images), 1, axis=1)
    )
    assert main(["export", str(run), "--out", str(tmp_path / "bundle")]) == 2
    assert "the exported encoder is not the trained one" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_tells_how_far_two_encoders_are():
    vectors = np.eye(8, dtype="float32")[np.repeat(np.arange(4), 2)]
    labels = np.repeat(np.arange(4), 2)
    found = compare(vectors, vectors, labels)
    assert found["difference"] == 0 and found["overlap_of_the_top_10"] == 1
    other = compare(vectors, vectors[::-1].copy(), labels)
    assert other["difference"] == 1
    found["difference_at_any_size"] = np.nan
    with pytest.raises(ValueError, match="vectors differ by nan"):
        check(found, Tolerance(0.1, 0.1, 0.5))


def test_compares_images_of_which_no_two_are_of_one_class():
    vectors, lines = np.eye(4, dtype="float32"), []
    found = {**compare(vectors, vectors, np.arange(4)), "difference_at_any_size": 0.0}
    assert "recall_at_1_before" not in found and found["overlap_of_the_top_10"] == 1
    check(found, Tolerance(0.1, 0.1, 0.5))
    one = {**compare(vectors[:1], vectors[:1], np.zeros(1, int)), "difference_at_any_size": 0.0}
    check(one, Tolerance(0.1, 0.1, 0.5))
    for figures in (found, one):
        say(figures, lines.append)
    assert "R@1" not in lines[0] and lines[1].startswith("1 images through both encoders: vectors")


def test_compares_whole_classes():
    labels = np.repeat(np.arange(30), 70)
    assert len(whole_classes(labels)) == 980
    assert len(whole_classes(np.zeros(5000, int))) == 1000
