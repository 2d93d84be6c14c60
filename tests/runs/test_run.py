"""A run without an evaluation, and invalid files."""

import numpy as np
import pytest

from dml._storage.records import write_json
from dml.datasets import Items
from dml.errors import OptionError
from dml.runs import Evaluation, Run
from dml.runs._splits import TestSplit
from tests.runs.running import begun


@pytest.fixture
def folder(tmp_path):
    return begun(tmp_path / "run")


@pytest.fixture
def run(folder):
    return Run(folder.path)


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
