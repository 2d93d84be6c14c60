"""The frozen network: what a training has to surpass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dml.runs._metrics import METRICS, NUMBER, MetricValue, metrics_from_json, metrics_to_json

SHAPE = {"dimension": int, "validation": (*NUMBER, type(None)), "metrics": METRICS}


@dataclass(frozen=True)
class Baseline:
    """Retrieval by the pooled features of the backbone as it was before the training.

    Args:
        dimension: Of the features.
        validation: R@1 on the validation split; None without one.
        metrics: Retrieval metrics of the test split; empty where it is not measured.
    """

    dimension: int
    validation: float | None = None
    metrics: Mapping[str, MetricValue] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns the baseline as `frozen.json` holds it."""
        return {**vars(self), "metrics": metrics_to_json(self.metrics)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Baseline":
        """Returns the baseline that `to_json` wrote, of the shape `SHAPE`."""
        return cls(**{**value, "metrics": metrics_from_json(value["metrics"])})
