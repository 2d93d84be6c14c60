"""The frozen network: what a training has to surpass."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from dml._storage.run_folder import RunFolder
from dml._text import number_of
from dml.runs._metrics import METRICS, NUMBER, MetricValue, metrics_from_json, metrics_to_json

_SHAPE = {"dimension": int, "validation": (*NUMBER, type(None)), "metrics": METRICS}


@dataclass(frozen=True)
class Baseline:
    """Retrieval by the pooled features of the backbone as it was before the training.

    Args:
        dimension: Length of the features.
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
    def read(cls, folder: RunFolder) -> "Baseline":
        """Returns the baseline of a run.

        Raises:
            MissingDataError: It was not measured.
            DataError: Its file is damaged.
        """
        value = folder.read_json(folder.frozen, _SHAPE)
        return cls(**{**value, "metrics": metrics_from_json(value["metrics"])})

    def note_on_result(
        self, dim: int, validation: float | None = None, test: float | None = None
    ) -> str:
        """Returns a line on a result that is worse than the frozen network, with what to try.

        Args:
            dim: Length of the embedding, if it starts from the features and can be too short; else
                0.
            validation: R@1 of the result on the validation split; None if it was not measured.
            test: R@1 of the result on the test split.

        Returns:
            Empty if the result is at least as good.
        """
        frozen = self.metrics.get("R@1")
        splits = (
            ("in validation", self.validation, validation),
            ("on the test split", frozen and frozen.value, test),
        )
        worse = [
            f"{100 * before:.1f} {where} and the result {100 * after:.1f}"
            for where, before, after in splits
            if before is not None and after is not None and after < before
        ]
        if not worse:
            return ""
        scores = "; ".join(worse)
        if 0 < dim < self.dimension:
            return (
                f"the embedding of {number_of(dim, 'number')} is worse than the {self.dimension:,} "
                f"features of the frozen network, which have R@1 {scores}. Raise embedding.dim, or "
                "set it to 0 for the features themselves"
            )
        return (
            f"the result is worse than the frozen network, which has R@1 {scores}. Unless that is "
            "chance (see the intervals), train for more epochs, or let dml tune search for better "
            "options"
        )
