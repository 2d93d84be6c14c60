"""The data and options of a run's evaluation, and invalid files."""

import numpy as np
import pytest

import dml
from dml._storage.records import write_json
from dml._storage.run_folder import RunFolder
from dml.datasets import Items
from dml.errors import OptionError
from dml.runs import Evaluation, Run
from dml.runs._splits import TestSplit


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.recipe.write_text('[dataset]\nname = "glyphs"\n[loss]\nname = "triplet"\n')
    folder.begin(folder.recipe.read_text(), ())
    folder.encoder.touch()
    return folder


@pytest.fixture
def run(folder):
    return Run(folder.path)


def test_the_runs_own_data_set_may_be_elsewhere_and_nothing_else(run):
    data, _ = run._test_data(None, ["--dataset.root", "there"])
    assert data.is_own and data.dataset.root == "there"
    with pytest.raises(ValueError, match=r"--dataset\.samples can't change: a run is evaluated on"):
        run._test_data(None, ["--dataset.samples", "6"])


def test_another_folder_is_measured_whole_unless_a_flag_says_otherwise(run, tmp_path):
    on, flags = str(tmp_path), ["--dataset.test_fraction", "0.5"]
    whole, half = (run._test_data(on, f)[0].dataset for f in ((), flags))
    assert whole.test_fraction == whole.validation_fraction == 0 and half.test_fraction == 0.5
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('[dataset]\nname = "folder"\nroot = "photos"\n')
    assert run._test_data(str(recipe))[0].dataset.test_fraction == 0.2
    part = dml.datasets.Folder(root=on, test_fraction=0.3)
    assert run._test_data(part)[0].dataset is part


def test_a_part_is_measured_with_its_own_options_and_the_flags_of_the_evaluation(run, tmp_path):
    part = dml.datasets.Folder(root=str(tmp_path))
    assert run._test_data(part, ["--evaluation.ks", "1,3"])[1].ks == (1, 3)
    with pytest.raises(OptionError, match=r"--dataset\.test_fraction can't be set for a part"):
        run._test_data(part, ["--dataset.test_fraction", "0.5"])
    with pytest.raises(OptionError, match=r"evaluation\.kx is unknown"):
        run._test_data(part, ["--evaluation.kx", "1"])


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"to": "tflite"}, "to must be one of onnx, saved-model, litert, keras; got 'tflite'"),
        ({"precision": "float16"}, "precision must be one of float32, half, int8; got 'float16'"),
    ],
)
def test_an_unknown_format_is_an_option_error(run, arguments, message):
    with pytest.raises(OptionError, match=message):
        run.export(**arguments)


def test_each_data_set_has_an_evaluation_of_its_own(run, tmp_path, monkeypatch):
    for parent in "ab":
        (tmp_path / parent / "pho tos").mkdir(parents=True)
    (tmp_path / "linked").symlink_to(tmp_path / "a" / "pho tos")

    def name(on, flags=()):
        return run._test_data(on and str(on), flags)[0].folder_name

    first, second = (name(tmp_path / parent / "pho tos") for parent in "ab")
    assert first.startswith("pho_tos-") and second.startswith("pho_tos-") and first != second
    assert name(tmp_path / "linked").split("-")[1] == first.split("-")[1]
    monkeypatch.chdir(tmp_path / "a" / "pho tos")
    assert name(".") == first
    assert name(".", ["--dataset.test_fraction", "0.5"]) != first
    assert name(".", ["--dataset.validation_fraction", "0"]) == first
    assert name(None) == "glyphs" != name("glyphs")


def test_another_data_set_brings_its_options(run):
    flags = ["--dataset.protocol", "seen-class", "--evaluation.ks", "3"]
    data, options = run._test_data("cub200", flags)
    assert data.label == "cub200" and data.dataset.protocol == "seen-class" and not data.is_own
    assert options.ks == (3,)


def test_takes_no_option_of_the_training(run):
    with pytest.raises(ValueError, match=r"--loss\.margin is not an option of an evaluation"):
        run._test_data(None, ["--loss.margin", "1"])


def test_an_unfinished_run_is_named(folder):
    folder.encoder.unlink()
    with pytest.raises(FileNotFoundError, match=r"encoder\.keras is missing"):
        Run(folder.path)


def test_a_report_needs_an_evaluation(run):
    with pytest.raises(FileNotFoundError, match="there is no evaluation: run `dml evaluate"):
        run.rewrite_report()
    with pytest.raises(FileNotFoundError, match=r"dml evaluate .* --on cub200`"):
        run.evaluation("cub200")


def test_a_report_of_files_that_differ_is_refused(folder, run):
    output = folder.evaluation("glyphs")
    output.mkdir(parents=True)
    np.save(output / "vectors.npy", np.ones((3, 4), "float32"))
    paths = [f"{i}.jpg" for i in range(4)]
    items = Items.build(paths, list("aabb"), ["test"] * 4, paths, "zero-shot")
    TestSplit.of(items, "mine", "none").write(output / "items.parquet")
    evaluation = Evaluation(output, "mine", "zero-shot", 4, 0, 4, 2, {})
    write_json(output / "metrics.json", evaluation.to_json())
    folder.record(*(output / f for f in ("vectors.npy", "items.parquet", "metrics.json")))
    with pytest.raises(ValueError, match=r"4 float32 vectors belong here; it holds float32 \(3, 4"):
        run.rewrite_report()
