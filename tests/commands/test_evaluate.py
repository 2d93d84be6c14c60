"""`dml evaluate`'s own parts; the whole command is in tests/commands/test_train.py."""

import os

import numpy as np
import pytest

from dml._storage.records import write_json
from dml._storage.run_folder import RunFolder
from dml.commands.evaluate import TestSplit as Split
from dml.commands.evaluate import (
    evaluate,
    evaluation_name,
    evaluation_recipe,
    measure,
    print_table,
    rebuild,
)
from dml.datasets import Items
from dml.recipe import load_recipe


def items(protocol, splits):
    names = [f"class {i // 2}" for i in range(len(splits))]
    paths = [f"{i}.jpg" for i in range(len(splits))]
    return Items.build(paths, names, splits, paths, protocol)


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.recipe.write_text('[dataset]\nname = "glyphs"\n[loss]\nname = "triplet"\n')
    folder.begin(folder.recipe.read_text(), ())
    return folder


def test_test_images_search_each_other():
    split = Split.of(items("zero-shot", ["train"] * 4 + ["test"] * 4), "mine")
    assert not split.has_gallery and len(split.items) == 4
    np.testing.assert_array_equal(split.query_rows, split.gallery_rows)


def test_queries_search_the_gallery():
    split = Split.of(items("query-gallery", ["train"] * 2 + ["query", "gallery"] * 2), "mine")
    assert split.has_gallery
    assert split.query_rows.tolist() == [0, 2] and split.gallery_rows.tolist() == [1, 3]
    assert list(split.table()["split"]) == ["query", "gallery"] * 2
    assert list(split.table()["path"]) == [os.path.abspath(f"{i}.jpg") for i in (2, 3, 4, 5)]


def test_a_split_is_read_as_it_was_written(tmp_path):
    split = Split.of(items("query-gallery", ["query", "gallery"] * 3), "mine")
    split.table().to_parquet(tmp_path / "items.parquet")
    read = Split.read(tmp_path / "items.parquet", "query-gallery", "mine")
    assert read.has_gallery and read.query_rows.tolist() == [0, 2, 4]
    np.testing.assert_array_equal(read.items.labels, split.items.labels)
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"items\.parquet: damaged"):
        Split.read(tmp_path / "items.parquet", "query-gallery", "mine")


@pytest.mark.parametrize(
    "protocol, splits",
    [("zero-shot", ["train"] * 4), ("query-gallery", ["train", "train", "query", "query"])],
)
def test_nothing_to_test_on_is_an_error(protocol, splits):
    with pytest.raises(ValueError, match="mine has no test images"):
        Split.of(items(protocol, splits), "mine")


def test_measures_queries_against_the_gallery():
    split = Split.of(items("query-gallery", ["query", "gallery"] * 3), "mine")
    vectors = np.repeat(np.eye(3, dtype=np.float32), 2, axis=0)
    flags = ["--evaluation.clustering_seeds", "0", "--evaluation.ks", "1,2"]
    result, pairs, figures, notes = measure(split, vectors, load_recipe("glyphs", flags))
    assert figures["AUC"]["value"] == 1.0 and pairs.genuine == 3
    assert notes == []
    assert len(result.labels) == 3 and result.neighbours[:, 0].tolist() == [0, 1, 2]
    assert all(figure["value"] == 1 for name, figure in figures.items() if "ecall" in name)


def test_the_runs_own_data_set_may_be_elsewhere_and_nothing_else(folder):
    recipe = evaluation_recipe(folder, None, ["--dataset.root", "there"])
    assert recipe.dataset.root == "there" and recipe.names["loss"] == "triplet"
    with pytest.raises(ValueError, match=r"--dataset\.samples: a run is measured on the split"):
        evaluation_recipe(folder, None, ["--dataset.samples", "6"])


def test_another_folder_is_measured_whole_unless_a_flag_says_otherwise(folder, tmp_path):
    on, flags = str(tmp_path), ["--dataset.test_fraction", "0.5"]
    whole, half = (evaluation_recipe(folder, on, f).dataset for f in ((), flags))
    assert whole.test_fraction == whole.validation_fraction == 0 and half.test_fraction == 0.5
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[dataset]\nname = "folder"\nroot = "photos"\n')
    assert evaluation_recipe(folder, str(recipe), ()).dataset.test_fraction == 0.2


def test_each_data_set_has_an_evaluation_of_its_own(folder, tmp_path, monkeypatch):
    for parent in "ab":
        (tmp_path / parent / "pho tos").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "pho tos")

    def name(on, flags=()):
        return evaluation_name(evaluation_recipe(folder, on and str(on), flags), on)

    first, second = (name(tmp_path / parent / "pho tos") for parent in "ab")
    assert first.startswith("pho_tos-") and second.startswith("pho_tos-") and first != second
    assert name(tmp_path / "linked").split("-")[1] == first.split("-")[1]
    monkeypatch.chdir(tmp_path / "a" / "pho tos")
    assert name(".") == first
    assert name(".", ["--dataset.test_fraction", "0.5"]) != first
    assert name(".", ["--dataset.validation_fraction", "0"]) == first
    assert name(None) == "glyphs" != name("glyphs")


def test_evaluates_on_another_data_set_with_the_runs_encoder(folder):
    recipe = evaluation_recipe(folder, "cub200", ["--dataset.protocol", "seen-class"])
    assert recipe.names["dataset"] == "cub200" and recipe.dataset.protocol == "seen-class"
    assert recipe.names["loss"] == "triplet"
    assert type(recipe.loss).__name__ == "Triplet"


def test_takes_no_option_of_the_training(folder):
    with pytest.raises(ValueError, match=r"--loss\.margin: an evaluation takes"):
        evaluation_recipe(folder, None, ["--loss.margin", "1"])


def test_an_unfinished_run_is_named(folder):
    with pytest.raises(FileNotFoundError, match=r"encoder\.keras is missing"):
        evaluate(folder.path)


def test_prints_figures_intervals_and_the_untrained_encoder():
    lines = []
    metrics = {
        "dataset": "birds",
        "protocol": "zero-shot",
        "queries": 4092,
        "classes": 98,
        "gallery": 4092,
        "excluded": 3,
        "figures": {
            "recall_at_1": {"value": 0.734, "low": 0.7, "high": 0.765},
            "nmi": {"value": 0.612, "spread": 0.01},
            "accuracy": {"value": 0.5},
        },
        "untrained": {"recall_at_1": {"value": 0.45}},
    }
    print_table(metrics, lines.append)
    assert "4,092 queries of 98 classes" in lines[0]
    assert "3 without a positive left out" in lines[0]
    assert lines[2].split() == ["recall_at_1", "73.4", "70.0", "-", "76.5", "45.0"]
    assert lines[3].split() == ["nmi", "61.2", "+-", "1.0"]
    assert lines[4].split() == ["accuracy", "50.0"]


def test_figures_that_recipes_may_ask_for_are_those_there_are():
    from dml.evaluation import _scores
    from dml.recipe._schema import EXTRA_METRICS

    assert EXTRA_METRICS == _scores.EXTRA_METRICS


def test_a_report_needs_an_evaluation(folder):
    folder.encoder.touch()
    with pytest.raises(FileNotFoundError, match="holds no evaluation: run `dml evaluate"):
        rebuild(folder.path)


def test_a_report_of_files_that_differ_is_refused(folder):
    folder.encoder.touch()
    output = folder.evaluation("glyphs")
    output.mkdir(parents=True)
    np.save(output / "vectors.npy", np.ones((3, 4), "float32"))
    table = Split.of(items("zero-shot", ["test"] * 4), "mine").table()
    table.to_parquet(output / "items.parquet")
    metrics = dict.fromkeys(("queries", "classes", "gallery", "excluded"), 2)
    metrics |= {"protocol": "zero-shot", "dataset": "mine", "notes": [], "figures": {}}
    write_json(output / "metrics.json", {**metrics, "untrained": {}, "thresholds": []})
    folder.record(*(output / f for f in ("vectors.npy", "items.parquet", "metrics.json")))
    with pytest.raises(ValueError, match=r"4 vectors belong here; it holds float32 \(3, 4\)"):
        rebuild(folder.path)
