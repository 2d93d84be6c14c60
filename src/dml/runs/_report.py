"""Prepares the contents of the report."""

from collections.abc import Callable

import numpy as np

from dml.datasets import Items
from dml.images import read_image
from dml.report import Metric, ReportData
from dml.runs._measuring import Measurement
from dml.runs._splits import TestSplit
from dml.runs.evaluation import Evaluation


def report_data(
    evaluation: Evaluation,
    split: TestSplit,
    vectors: np.ndarray,
    measurement: Measurement,
    title: str,
    trained: str,
    speed: str,
    history: list[dict[str, float]],
    candidates: list[tuple[str, float, bool]],
    recipe: str,
    versions: dict,
    seed: int,
) -> ReportData:
    """Returns the contents of the report.

    Args:
        evaluation: The metrics.
        split: Queries and gallery.
        vectors: Floats (N, D) of the split's items.
        measurement: Its search and verification, measured on `vectors`.
        title: The headline.
        trained: As for `ReportData`.
        speed: As for `ReportData`.
        history: The run's log.
        candidates: As for `ReportData`.
        recipe: The resolved recipe, as TOML.
        versions: Versions of packages.
        seed: The seed of the training.
    """
    queries, gallery = split.query_rows, split.gallery_rows
    found = measurement.retrieval
    return ReportData(
        title=title,
        dataset=evaluation.dataset,
        protocol=evaluation.protocol_name,
        metrics=shown_metrics(evaluation),
        counts={
            "queries": evaluation.queries,
            "classes": evaluation.classes,
            "images in the gallery": evaluation.gallery,
            "queries without a positive": evaluation.excluded,
        },
        notes=evaluation.notes,
        trained=trained,
        speed=speed,
        history=history,
        candidates=candidates,
        vectors=vectors[queries],
        labels=split.query_labels,
        class_names=split.items.class_names,
        neighbours=found.neighbours if found else np.zeros((len(queries), 0), int),
        first_positive=found.first_positive if found else np.zeros(len(queries), int),
        thumbnail=image_reader(split.items, queries),
        gallery_vectors=vectors[gallery] if split.has_gallery else None,
        gallery_labels=split.gallery_labels if split.has_gallery else None,
        gallery_thumbnail=image_reader(split.items, gallery) if split.has_gallery else None,
        alike=split.items.alike if split.items.separator else None,
        left_out=split.query_left_out,
        gallery_left_out=split.gallery_left_out if split.has_gallery else None,
        thresholds={t.promise: t.similarity for t in evaluation.thresholds},
        errors=error_rates(measurement),
        recipe=recipe,
        versions=versions,
        seeds={"training": seed},
    )


def image_reader(items: Items, rows: np.ndarray) -> Callable[[int], np.ndarray]:
    """Returns a function that reads the image of a row of `rows`."""
    return lambda row: read_image(str(items.paths[rows[row]]))


def shown_metrics(evaluation: Evaluation) -> list[Metric]:
    """Returns the metrics next to those of the frozen network."""
    shown = []
    for name, metric in evaluation.metrics.items():
        before = evaluation.frozen.get(name)
        shown.append(
            Metric(
                name,
                metric.value,
                metric.interval,
                before.value if before else None,
                before.interval if before else None,
            )
        )
    return shown


def error_rates(measurement: Measurement) -> tuple[np.ndarray, np.ndarray] | None:
    """Returns the false accept and false reject rates of all thresholds."""
    if measurement.verification is None:
        return None
    _, accepted, found = measurement.verification.roc()
    return accepted, 1.0 - found
