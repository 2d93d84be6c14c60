"""The frozen network's metrics survive their file."""

import json

import pytest

from dml._storage.records import misfit
from dml.runs._baseline import SHAPE, Baseline
from dml.runs._metrics import MetricValue

METRICS = {"R@1": MetricValue(0.91, 0.89, 0.93), "MRR": MetricValue(0.95)}


@pytest.mark.parametrize("baseline", [Baseline(768, 0.943, METRICS), Baseline(64)])
def test_survives_json(baseline):
    written = json.loads(json.dumps(baseline.to_json()))
    assert misfit(written, SHAPE) is None
    assert Baseline.from_json(written) == baseline


def test_other_files_are_recognised():
    assert misfit({"dimension": 768, "validation": "high", "metrics": {}}, SHAPE) == "validation"
