"""Folders on which some metrics can't be measured: a note names these, the others are measured."""

import json

import numpy as np
import pytest

from dml.runs._comparison import read_scored_runs
from tests.datasets.layouts import write_image
from tests.runs.running import Lines, evaluate, rebuild, train, words

pytestmark = pytest.mark.usefixtures("eager_training")

OPTIONS = {
    "backbone.name": "conv4",
    "backbone.weights": "none",
    "backbone.input_size": 16,
    "backbone.resize_side": 16,
    "backbone.filters": 8,
    "embedding.dim": 8,
    "sampler.batch_size": 4,
    "training.epochs": 1,
    "training.stage": "full",
    "training.interpolate": "none",
    "training.select_aspect": False,
    "evaluation.clustering_seeds": 1,
}
RETRIEVAL, CLUSTERING = {"R@1", "MAP@R"}, {"NMI", "AMI"}
VERIFICATION, LINEAR = {"AUC", "EER"}, {"linear accuracy", "1-NN accuracy"}


def photos(root, **splits):
    """Writes splits whose classes have so many images; `unseen` is a test of other classes."""
    seed = 0
    for split, counts in splits.items():
        for number, count in enumerate(counts):
            name = f"{'new' if split == 'unseen' else 'class'} {number}"
            folder = root / split.replace("unseen", "test") / name
            for _ in range(count):
                write_image(folder / f"{seed}.jpg", seed)
                seed += 1
    return root


def run_on(root, out, lines, **changes):
    options = {**OPTIONS, **{k.replace("__", "."): v for k, v in changes.items()}}
    folder = train(str(root), words(options), out, lines)
    metrics = json.loads(folder.metrics.read_text())
    assert all(np.isfinite(figure["value"]) for figure in metrics["metrics"].values())
    for note in metrics["notes"]:
        assert f"note: {note}" in lines and note[1:] in folder.report.read_text()
    page = folder.report.read_text()
    rebuild(folder.path)
    assert folder.report.read_text() == page
    return folder, metrics


@pytest.mark.slow
def test_one_test_image_a_class_leaves_linear_and_nearest_neighbours(tmp_path):
    root = photos(tmp_path / "photos", train=[7, 4, 5], test=[1, 1, 1])
    folder, metrics = run_on(root, tmp_path / "run", lines := Lines())
    assert metrics["protocol"] == "seen-class" and metrics["excluded"] == 3
    assert set(metrics["metrics"]) >= LINEAR
    assert not set(metrics["metrics"]) & (RETRIEVAL | CLUSTERING | VERIFICATION)
    assert [note.split(":")[0] for note in metrics["notes"]][:3] == [
        "no retrieval metrics",
        "no clustering metrics",
        "no verification metrics",
    ]
    assert any("val 6 images of 3 classes" in line for line in lines)
    assert evaluate(folder.path, reporter=lines)["metrics"] == metrics["metrics"]


@pytest.mark.slow
def test_a_long_tail_keeps_every_metric(tmp_path):
    root = photos(tmp_path / "photos", train=[12, 5, 3, 1], test=[4, 2, 1, 1])
    _, metrics = run_on(root, tmp_path / "run", lines := Lines())
    names = RETRIEVAL | CLUSTERING | VERIFICATION | LINEAR
    assert metrics["excluded"] == 2 and names <= set(metrics["metrics"])
    assert any("class 3 has a single training image" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("images", [2, 4])
def test_few_images_a_class(tmp_path, images):
    root = photos(tmp_path / "photos", train=[images] * 3, test=[2] * 3)
    _, metrics = run_on(root, tmp_path / "run", lines := Lines())
    assert set(metrics["metrics"]) >= RETRIEVAL | CLUSTERING | VERIFICATION | LINEAR
    assert any("no validation" in line for line in lines) == (images < 4)
    assert any("no calibrated thresholds" in note for note in metrics["notes"]) == (images < 4)


@pytest.mark.slow
def test_one_training_image_a_class_leaves_nearest_neighbours(tmp_path):
    root = photos(tmp_path / "photos", train=[1] * 6, test=[2] * 6)
    _, metrics = run_on(root, tmp_path / "run", Lines())
    assert RETRIEVAL | {"1-NN accuracy"} <= set(metrics["metrics"])
    assert "linear accuracy" not in metrics["metrics"] and "5-NN accuracy" in metrics["metrics"]
    assert any("no linear accuracy" in note for note in metrics["notes"])


@pytest.mark.slow
def test_test_classes_without_a_training_image_are_counted(tmp_path):
    root = photos(tmp_path / "photos", train=[5, 5], test=[2, 2, 3])
    _, metrics = run_on(root, tmp_path / "run", Lines())
    assert set(metrics["metrics"]) >= LINEAR
    assert any("count as wrong: 3 of " in n for n in metrics["notes"])


@pytest.mark.slow
def test_a_test_of_which_nothing_can_be_measured_loses_no_training(tmp_path):
    root = photos(tmp_path / "photos", train=[5] * 6, unseen=[1] * 3)
    folder, metrics = run_on(root, tmp_path / "run", Lines())
    assert metrics["protocol"] == "zero-shot" and metrics["metrics"] == {}
    assert folder.encoder.exists() and "no retrieval metrics" in metrics["notes"][0]
    with pytest.raises(ValueError, match=f"{folder.path}: no query has"):
        read_scored_runs([folder.path])


@pytest.mark.slow
def test_queries_whose_class_is_not_in_the_gallery(tmp_path):
    rows = ["path,label,split"]
    for i in range(18):
        write_image(tmp_path / f"{i}.jpg", i)
        split = "train" if i < 12 else "query" if i < 15 else "gallery"
        rows.append(f"{i}.jpg,{'train' if i < 12 else split}{i % 3},{split}")
    (tmp_path / "table.csv").write_text("\n".join(rows) + "\n")
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'[dataset]\nname = "table"\nroot = "{tmp_path}/table.csv"\n')
    _, metrics = run_on(recipe, tmp_path / "run", Lines(), dataset__validation="images")
    assert metrics["protocol"] == "query-gallery" and metrics["metrics"] == {}
    assert metrics["gallery"] == metrics["excluded"] == 3


@pytest.mark.slow
def test_thresholds_of_trained_classes_say_so(tmp_path):
    root = photos(tmp_path / "photos", train=[12] * 4, unseen=[1] * 3)
    changes = {"evaluation__target_far": 0.9, "dataset__validation": "images"}
    _, metrics = run_on(root, tmp_path / "run", lines := Lines(), **changes)
    assert metrics["thresholds"][-1]["kind"] == "far"
    assert metrics["thresholds"][-1]["test_rate"] is None
    assert any("chosen on images of training classes" in note for note in metrics["notes"])
    assert any("on the test split not measured" in line for line in lines)
