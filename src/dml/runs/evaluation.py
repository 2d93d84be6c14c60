"""The result of measuring a run on a test split."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from dml._storage.run_folder import RunFolder
from dml._text import number_of
from dml.errors import DataError, MissingDataError
from dml.evaluation import CalibratedThreshold, thresholds_from_json
from dml.runs._evaluation_files import SCHEMA, SHAPE, read_vectors
from dml.runs._metrics import MetricValue, metrics_from_json, metrics_to_json


@dataclass(frozen=True)
class Evaluation:
    """The metrics of a run on a test split, with their protocol and intervals.

    Args:
        path: The folder with the evaluation's `metrics.json`, `vectors.npy` (unit vectors of the
            test images), `items.parquet` (a row for each) and `report.html`.
        dataset: The data set's name.
        protocol: `zero-shot` (no class and no image of the test occurred in training), `seen-class`
            or `query-gallery`.
        queries: Number of queries, including those that are excluded.
        excluded: Queries without a positive, which no retrieval metric counts.
        gallery: Number of images searched.
        classes: Classes of the queries.
        metrics: Name -> `MetricValue`.
        frozen: The same metrics of the pooled features of the frozen network; empty for data sets
            other than the run's own.
        exclude: What a query's search leaves out, as `evaluation.exclude`.
        thresholds: Thresholds calibrated on the validation split and tested on the test split.
        seen: How many "classes" and "images" of the test occurred in training or validation.
        unreadable: {split: images that were left out because they can't be read}.
        since_training: How many images of the run's own data set are new, missing and changed;
            None for other data sets.
        seconds: Duration of the evaluation.
        notes: Lines on the scope of the metrics, and on those that could not be measured.

    Example:
        >>> evaluation = dml.Run("runs/mine").evaluation()  # doctest: +SKIP
        >>> evaluation.metrics["R@1"].value, evaluation.frozen["R@1"].value  # doctest: +SKIP
        (0.79, 0.235)
    """

    path: Path
    dataset: str
    protocol: str
    queries: int
    excluded: int
    gallery: int
    classes: int
    metrics: Mapping[str, MetricValue]
    frozen: Mapping[str, MetricValue] = field(default_factory=dict)
    exclude: str = "none"
    thresholds: tuple[CalibratedThreshold, ...] = ()
    seen: Mapping[str, int] = field(default_factory=dict)
    unreadable: Mapping[str, int] = field(default_factory=dict)
    since_training: Mapping[str, int] | None = None
    seconds: float = 0.0
    notes: tuple[str, ...] = ()

    @property
    def protocol_name(self) -> str:
        """The protocol and what a query's search leaves out, as text."""
        left_out = "" if self.exclude == "none" else f" without a query's own {self.exclude}"
        return f"{self.protocol}{left_out}"

    @property
    def report(self) -> Path:
        """The page of the evaluation."""
        return self.path / "report.html"

    @classmethod
    def read(cls, folder: RunFolder, path: Path) -> "Evaluation":
        """Returns an evaluation of a run.

        Args:
            folder: The run.
            path: The evaluation's folder.

        Raises:
            MissingDataError: The run has no such evaluation.
            DataError: Its file is damaged.
        """
        file = path / "metrics.json"
        if not file.exists():
            raise MissingDataError(path, "contains no evaluation")
        return cls.from_json(path, folder.read_json(file, SHAPE))

    @classmethod
    def from_json(cls, path: Path, value: Mapping[str, Any]) -> "Evaluation":
        """Returns the evaluation that `to_json` wrote.

        Args:
            path: The evaluation's folder.
            value: A dictionary of the fields in `SHAPE`.

        Raises:
            DataError: Another version wrote it, or a threshold is invalid.
        """
        if value["schema"] != SCHEMA or set(value) != set(SHAPE):
            raise DataError(
                path / "metrics.json", "of another version of dml; evaluate the run again"
            )
        fields = {name: value[name] for name in SHAPE if name != "schema"}
        try:
            fields["metrics"] = metrics_from_json(fields["metrics"])
            fields["frozen"] = metrics_from_json(fields["frozen"])
        except TypeError as error:  # a field that a metric does not have
            raise DataError(path / "metrics.json", f"damaged: {error}") from None
        fields["thresholds"] = thresholds_from_json(fields["thresholds"], path / "metrics.json")
        fields["notes"] = tuple(fields["notes"])
        return cls(path, **fields)

    def to_json(self) -> dict[str, Any]:
        """Returns the evaluation as `metrics.json` holds it."""
        fields = {name: value for name, value in vars(self).items() if name != "path"}
        return {
            "schema": SCHEMA,
            **fields,
            "metrics": metrics_to_json(self.metrics),
            "frozen": metrics_to_json(self.frozen),
            "thresholds": [threshold.to_json() for threshold in self.thresholds],
            "notes": list(self.notes),
        }

    def vectors(self) -> np.ndarray:
        """Returns the unit vectors (N, D) of the test images, float32.

        Raises:
            DataError: The file is damaged.
        """
        return read_vectors(self.path / "vectors.npy")

    def lines(self) -> Iterator[str]:
        """Yields the metrics, their intervals and those of the frozen network as a table."""
        excluded = ""
        if self.excluded:
            excluded = f"; without a positive, so not counted: {self.excluded:,}"
        yield (
            f"{self.dataset}, {self.protocol_name}: {number_of(self.queries, 'query')} of "
            f"{number_of(self.classes, 'class')} in a gallery of {self.gallery:,}{excluded}"
        )
        if self.metrics:
            frozen = "frozen" if self.frozen else ""
            yield f"{'':18}{'trained':>8}  {'95 % interval':>15}{frozen:>11}".rstrip()
        for name, metric in self.metrics.items():
            text = f"{name:18}{100 * metric.value:8.1f}  "
            if metric.interval is not None:
                low, high = metric.interval
                text += f"{100 * low:6.1f} - {100 * high:5.1f} "
            elif metric.spread is not None:
                text += f"{'+-':>9} {100 * metric.spread:4.1f}  "
            else:
                text += " " * 16
            before = self.frozen.get(name)
            yield text + (f"{100 * before.value:10.1f}" if before else "")
        for threshold in self.thresholds:
            rate, coverage = threshold.test_rate, threshold.test_coverage
            measured = "not measured" if rate is None else f"{100 * rate:.1f} %"
            covered = "" if coverage is None else f", for {100 * coverage:.0f} % of the queries"
            yield (
                f"similarity {threshold.similarity:.3f}: {threshold.promise} on the validation "
                f"split (95 % confidence); on the test split {measured}{covered}"
            )
