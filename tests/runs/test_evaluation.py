"""An evaluation survives JSON, and its table shows the metrics."""

import json
from pathlib import Path

import pytest

from dml.errors import DataError
from dml.evaluation import CalibratedThreshold, ThresholdKind
from dml.runs import Evaluation, MetricValue

BIRDS = Evaluation(
    path=Path("evaluation/birds"),
    dataset="birds",
    protocol="zero-shot",
    queries=4092,
    excluded=3,
    gallery=4092,
    classes=98,
    metrics={
        "R@1": MetricValue(0.734, 0.7, 0.765),
        "NMI": MetricValue(0.612, spread=0.01),
        "accuracy": MetricValue(0.5),
    },
    frozen={"R@1": MetricValue(0.45)},
    thresholds=(
        CalibratedThreshold(ThresholdKind.FAR, 0.71234, 0.01, 0.008, 0.0099, 1000, 0.1, 0.02, 0.6),
        CalibratedThreshold(ThresholdKind.PRECISION, 0.6, 0.9, 0.95, 0.91, 100, 0.5),
    ),
    seen={"classes": 0, "images": 0},
    notes=("a note",),
)


def test_survives_json():
    written = json.loads(json.dumps(BIRDS.to_json()))
    assert Evaluation.from_json(BIRDS.path, written) == BIRDS


@pytest.mark.parametrize(
    "change",
    [
        {"schema": 1},
        {"more": 1},
        {"metrics": {"R@1": {"value": 0.5, "deep": 0.1}}},
        {"thresholds": [{"kind": "far"}]},
    ],
)
def test_what_dml_does_not_write_is_refused(change):
    with pytest.raises(DataError, match=r"birds/metrics\.json: "):
        Evaluation.from_json(BIRDS.path, {**BIRDS.to_json(), **change})


def test_the_table_has_intervals_and_the_frozen_network():
    lines = list(BIRDS.lines())
    assert "4,092 queries of 98 classes" in lines[0]
    assert lines[0].endswith("; without a positive, so not counted: 3")
    assert lines[2].split() == ["R@1", "73.4", "70.0", "-", "76.5", "45.0"]
    assert lines[3].split() == ["NMI", "61.2", "+-", "1.0"]
    assert lines[4].split() == ["accuracy", "50.0"]
    assert lines[5].startswith("similarity 0.712: at most 1 % of other pairs accepted on the val")
    assert lines[5].endswith("on the test split 2.0 %, for 60 % of the queries")
    assert lines[6].endswith(
        "at least 90 % right on the validation split (95 % confidence); "
        "on the test split not measured"
    )
