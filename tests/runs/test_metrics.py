"""A metric survives JSON, with its measured values only."""

from dml.runs import MetricValue
from dml.runs._metrics import metrics_from_json, metrics_to_json


def test_a_metric_survives_json():
    metrics = {"R@1": MetricValue(0.9, 0.8, 0.95), "NMI": MetricValue(0.5, spread=0.01)}
    written = metrics_to_json(metrics)
    assert written == {
        "R@1": {"value": 0.9, "low": 0.8, "high": 0.95},
        "NMI": {"value": 0.5, "spread": 0.01},
    }
    assert metrics_from_json(written) == metrics


def test_an_interval_has_both_ends():
    assert MetricValue(0.5, 0.4, 0.6).interval == (0.4, 0.6)
    assert MetricValue(0.5).interval is None and MetricValue(0.5, low=0.1).interval is None
