"""What an evaluation measures and writes; whole runs are evaluated in test_trainer.py."""

import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.datasets import Items
from dml.errors import DataError
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs import Evaluation
from dml.runs._baseline import Baseline
from dml.runs._evaluating import Evaluator, notes_on_result, read_evaluated
from dml.runs._splits import TestData, TestItems, TestSplit


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.begin("", ())
    return folder


def items(split):
    paths = [f"{i}.jpg" for i in range(4)]
    return Items.build(paths, list("aabb"), [split] * 4, paths, "zero-shot")


def test_reads_the_images_of_an_evaluation_and_their_vectors(folder):
    output = folder.evaluation("glyphs")
    output.mkdir(parents=True)
    vectors = np.eye(4, dtype="float32")
    np.save(output / "vectors.npy", vectors)
    TestSplit.of(items("test"), "mine", "none").write(output / "items.parquet")
    folder.record(output / "vectors.npy", output / "items.parquet")
    evaluation = Evaluation(output, "mine", "zero-shot", 4, 0, 4, 2, {})
    split, found = read_evaluated(folder, evaluation)
    assert list(split.items.ids) == [f"{i}.jpg" for i in range(4)]
    np.testing.assert_array_equal(found, vectors)
    (output / "vectors.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"vectors\.npy: damaged, or changed"):
        read_evaluated(folder, evaluation)


def test_a_run_without_test_images_is_not_evaluated(folder, monkeypatch):
    found = TestItems(items("val"), "zero-shot", {}, {})
    monkeypatch.setattr(TestData, "read", lambda *_: found)
    recipe = load_recipe("glyphs")
    data = TestData(recipe.dataset, is_own=True)
    with pytest.raises(DataError, match="has no test images, or none is left: evaluate it on"):
        Evaluator(folder, recipe, SILENT).evaluate(None, data, recipe.evaluation)


def test_a_result_that_is_worse_than_the_frozen_network_is_noted(folder):
    folder.append_log({"epoch": 1, "val_recall_at_1": 0.5})
    baseline = Baseline(768, 0.9)
    pretrained = load_recipe("glyphs", ["--backbone.name=resnet50", "--backbone.weights=imagenet"])
    (note,) = notes_on_result(baseline, folder, pretrained)
    assert "R@1 90.0 in validation and the result 50.0" in note
    assert "Raise embedding.dim" in note
    (note,) = notes_on_result(baseline, folder, load_recipe("glyphs"))  # starts at random
    assert "R@1 90.0 in validation and the result 50.0. Unless that is chance" in note
    assert not list(notes_on_result(Baseline(768, 0.5), folder, pretrained))
