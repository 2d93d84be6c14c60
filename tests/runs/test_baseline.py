"""The frozen network's metrics survive their file."""

import pytest

from dml._storage.run_folder import RunFolder
from dml.errors import DataError
from dml.runs._baseline import Baseline
from dml.runs._metrics import MetricValue

METRICS = {"R@1": MetricValue(0.91, 0.89, 0.93), "MRR": MetricValue(0.95)}


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.begin("", ())
    return folder


@pytest.mark.parametrize("baseline", [Baseline(768, 0.943, METRICS), Baseline(64)])
def test_survives_its_file(folder, baseline):
    folder.write_json(folder.frozen, baseline.to_json())
    assert Baseline.read(folder) == baseline


def test_other_files_are_recognised(folder):
    folder.write_json(folder.frozen, {"dimension": 768, "validation": "high", "metrics": {}})
    with pytest.raises(DataError, match="validation is missing or not what dml writes there"):
        Baseline.read(folder)


def test_an_embedding_that_is_shorter_and_worse_is_noted():
    baseline = Baseline(768, 0.943, METRICS)
    assert baseline.note_on_result(32, validation=0.902, test=0.85) == (
        "the embedding of 32 numbers is worse than the 768 features of the frozen network, which "
        "have R@1 94.3 in validation and the result 90.2; 91.0 on the test split and the result "
        "85.0. Raise embedding.dim, or set it to 0 for the features themselves"
    )
    test = baseline.note_on_result(32, validation=0.95, test=0.85)
    assert "have R@1 91.0 on the test split and the result 85.0. Raise" in test
    assert "94.3 in validation" in baseline.note_on_result(767, validation=0.9)
    assert Baseline(768).note_on_result(32, validation=0.1, test=0.1) == ""  # not measured
    assert baseline.note_on_result(32, validation=0.943, test=0.91) == ""


@pytest.mark.parametrize("dim", [0, 768, 1024])
def test_a_result_that_is_worse_is_noted_whatever_its_length(dim):
    baseline = Baseline(768, 0.943, METRICS)
    assert baseline.note_on_result(dim, validation=0.95, test=0.85) == (
        "the result is worse than the frozen network, which has R@1 91.0 on the test split and the "
        "result 85.0. Unless that is chance (see the intervals), train for more epochs, or let dml "
        "tune search for better options"
    )
    assert baseline.note_on_result(dim, validation=0.943, test=0.92) == ""
