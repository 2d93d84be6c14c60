"""The value of a metric with its interval."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

NUMBER = (int, float)
METRICS = {str: {"value": NUMBER, str: NUMBER}}  # shapes, as `misfit` takes them


@dataclass(frozen=True)
class MetricValue:
    """A metric of one evaluation.

    Args:
        value: In [0, 1].
        low: Lower end of the 95 % interval for other classes; None if it was not measured.
        high: Upper end.
        spread: Standard deviation over the runs of k-means; None for other metrics.
    """

    value: float
    low: float | None = None
    high: float | None = None
    spread: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """Both ends of the 95 % interval, or None."""
        return None if self.low is None or self.high is None else (self.low, self.high)

    def to_json(self) -> dict[str, float]:
        """Returns the measured numbers, ready for JSON."""
        return {name: number for name, number in vars(self).items() if number is not None}


Metrics = Mapping[str, MetricValue]


def metrics_to_json(metrics: Metrics) -> dict[str, dict[str, float]]:
    """Returns metrics ready for JSON."""
    return {name: metric.to_json() for name, metric in metrics.items()}


def metrics_from_json(value: Mapping[str, Mapping[str, Any]]) -> dict[str, MetricValue]:
    """Returns the metrics that `metrics_to_json` wrote."""
    return {name: MetricValue(**numbers) for name, numbers in value.items()}
