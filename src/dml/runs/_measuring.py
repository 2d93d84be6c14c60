"""Metrics of a test split, and thresholds that are calibrated on the validation split."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from dml._text import number_of
from dml.datasets import Items
from dml.encoding import Encoder, embed_images
from dml.evaluation import (
    CalibratedThreshold,
    Retrieval,
    ThresholdKind,
    Verification,
    clustering,
    knn_evaluation,
    linear_evaluation,
    retrieval,
    threshold_for_far,
    threshold_for_precision,
    verification,
)
from dml.reporting import SILENT, Reporter
from dml.runs._metrics import MetricValue
from dml.runs._splits import TestSplit, has_positives

VOTERS = (1, 5, 20)  # nearest images of the k-NN accuracy
SEVERAL_LABELS = "it needs images of one label each"
NO_POSITIVE = "no query has another image of its class to find"
TWO_CLASSES = "images of two classes, and two images of one class"


@dataclass(frozen=True, eq=False)
class Measurement:
    """The metrics that could be measured on a test split.

    Args:
        metrics: The metrics by name.
        notes: Lines on metrics that could not be measured.
        retrieval: None if no query has a positive.
        verification: None if it was not requested or can't be measured.
    """

    metrics: Mapping[str, MetricValue] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    retrieval: Retrieval | None = None
    verification: Verification | None = None


def embed(
    encoder: Encoder,
    paths: Sequence[str] | np.ndarray,
    batch_size: int,
    threads: int | None,
    title: str,
    reporter: Reporter,
) -> np.ndarray:
    """Returns the vectors (N, D) of images, and shows the progress under a title.

    Args:
        encoder: As `embed_images` takes it, like the next three.
        paths: The paths of N images.
        batch_size: Images embedded at once.
        threads: Threads that read images.
        title: What is done, such as "validating".
        reporter: Shows the progress.
    """
    with reporter.progress(title, len(paths)) as advance:
        return embed_images(encoder, paths, batch_size, threads, advance)


def measure(
    split: TestSplit,
    vectors: np.ndarray,
    ks: Sequence[int],
    extra_metrics: Sequence[str] = (),
    clustering_seeds: int = 0,
    verify: bool = False,
    unfinished: Path | None = None,
    reporter: Reporter = SILENT,
) -> Measurement:
    """Measures retrieval, clustering and verification.

    Args:
        split: Queries and gallery.
        vectors: Floats (N, D) of its items.
        ks: The K of Recall@K.
        extra_metrics: As `retrieval` takes them.
        clustering_seeds: Runs of k-means; 0 leaves clustering out.
        verify: Whether all pairs are compared.
        unfinished: A folder that keeps the finished parts of an interrupted search.
        reporter: Shows the progress.
    """
    labels, rows = split.items.labels, split.query_rows
    result, pairs, notes = None, None, []
    metrics: dict[str, MetricValue] = {}
    if split.has_positives:
        with reporter.progress("searching", len(rows), "queries") as advance:
            result = search(split, vectors, ks, extra_metrics, unfinished, advance)
        metrics.update(as_values(result.metrics()))
    else:
        notes.append(f"no retrieval metrics: {NO_POSITIVE}")
    if split.items.separator:
        if clustering_seeds or verify:
            notes.append(f"no clustering or verification: {SEVERAL_LABELS}")
        return Measurement(metrics, tuple(notes), result)
    if clustering_seeds and two_classes(labels[rows]):
        clusters = clustering(vectors[rows], labels[rows], seeds=clustering_seeds)
        metrics.update(as_values(clusters.metrics()))
    elif clustering_seeds:
        notes.append(f"no clustering metrics: they need {TWO_CLASSES}")
    if verify and two_classes(labels):
        with reporter.progress("comparing all pairs", len(vectors)) as advance:
            pairs = verification(vectors, labels, advance)
        metrics.update({name: MetricValue(value) for name, value in pairs.metrics().items()})
    elif verify:
        notes.append(f"no verification metrics: they need {TWO_CLASSES}")
    return Measurement(metrics, tuple(notes), result, pairs)


def search(
    split: TestSplit,
    vectors: np.ndarray,
    ks: Sequence[int],
    extra_metrics: Sequence[str] = (),
    unfinished: Path | None = None,
    advance: Callable[[int], None] | None = None,
) -> Retrieval:
    """Searches the gallery of a split, or all of its images without one.

    Args:
        split: Queries and gallery, and what a query leaves out.
        vectors: Floats (N, D) of its items.
        ks: As `retrieval` takes them, like the next three.
        extra_metrics: Further metrics.
        unfinished: A folder that keeps the finished parts of an interrupted search.
        advance: Called with the number of queries done since its last call.

    Raises:
        ArrayError: No query has a positive.
    """
    gallery, labels = split.gallery_rows if split.has_gallery else None, split.items.search_labels
    return retrieval(
        vectors[split.query_rows],
        labels[split.query_rows],
        ks=ks,
        gallery=None if gallery is None else vectors[gallery],
        gallery_labels=None if gallery is None else labels[gallery],
        exclude=split.query_left_out,
        gallery_exclude=None if gallery is None else split.gallery_left_out,
        extra_metrics=extra_metrics,
        advance=advance,
        unfinished=unfinished,
    )


def as_values(metrics: Mapping[str, Mapping[str, float]]) -> dict[str, MetricValue]:
    """Returns the metrics of `dml.evaluation` as values."""
    return {name: MetricValue(**numbers) for name, numbers in metrics.items()}


def two_classes(labels: np.ndarray) -> bool:
    """Returns whether label codes (N,) are of two classes or more, and two are equal."""
    counts = np.unique(labels, return_counts=True)[1]
    return len(counts) > 1 and bool(counts.max() > 1)


def linear_metrics(vectors: np.ndarray, items: Items) -> Measurement:
    """Measures how well a linear classifier and k-NN on the training images classify test images.

    Args:
        vectors: Floats (N, D) of the items.
        items: Items of the splits `train`, `val` and `test`; the classifiers learn from the first
            two.
    """
    if items.separator:
        return Measurement(notes=(f"no linear and k-NN accuracy: {SEVERAL_LABELS}",))
    test = items.splits == "test"
    sides = vectors[~test], items.labels[~test], vectors[test], items.labels[test]
    sizes = np.bincount(sides[1])
    unknown = ~np.isin(sides[3], sides[1])
    if (sizes > 0).sum() < 2 or unknown.all():
        needed = "training images of two classes, and test images of one of them"
        return Measurement(notes=(f"no linear and k-NN accuracy: they need {needed}",))
    votes = knn_evaluation(*sides, ks=[k for k in VOTERS if k <= len(sides[0])])
    metrics = {f"{k}-NN accuracy": MetricValue(share) for k, share in votes.items()}
    notes = []
    if (sizes > 1).sum() < 2:
        notes.append("no linear accuracy: it needs two training images of each of two classes")
    else:
        metrics = {**as_values(linear_evaluation(*sides).metrics()), **metrics}
    if unknown.any():
        notes.append(
            "of classes without a training image, which linear and k-NN accuracy count as wrong: "
            f"{unknown.sum():,} of {number_of(len(unknown), 'test image')}"
        )
    return Measurement(metrics, tuple(notes))


def calibrate(
    vectors: np.ndarray,
    items: Items,
    target_precision: float,
    target_far: float,
    exclude: str = "none",
) -> tuple[tuple[CalibratedThreshold, ...], tuple[str, ...]]:
    """Returns thresholds that reach their targets on the validation split.

    Args:
        vectors: Floats (N, D) of its images.
        items: Its images.
        target_precision: Precision of nearest neighbours that one threshold promises.
        target_far: False accept rate over pairs of two classes that the other one promises.
        exclude: As `evaluation.exclude`.

    Returns:
        (thresholds, notes on those that can't be calibrated).
    """
    if len(items.label_names) < 2 or not has_positives(items):
        return (), (f"no calibrated thresholds: they need {TWO_CLASSES} in validation",)
    left_out = items.left_out_keys(exclude)
    if not has_positives(items, left_out):
        return (), (f"no calibrated thresholds: {NO_POSITIVE} in validation",)
    found = retrieval(vectors, items.search_labels, ks=(1,), exclude=left_out)
    nearest = found.neighbours[:, 0]
    queries = np.flatnonzero(nearest >= 0)  # all, unless one leaves out all of its neighbours
    similarities = paired(vectors[queries], vectors[nearest[queries]])
    right = found.first_positive[queries] == 1
    found = {
        f"a precision of {100 * target_precision:g} %": threshold_for_precision(
            similarities, right, target_precision
        ),
    }
    if not items.separator:
        found[f"a false accept rate of {100 * target_far:g} %"] = threshold_for_far(
            verification(vectors, items.labels), target_far
        )
    notes = [
        f"no threshold reaches {promise} on the validation split"
        for promise, threshold in found.items()
        if threshold is None
    ]
    if items.separator:
        notes.append(f"no threshold for a false accept rate: {SEVERAL_LABELS}")
    return tuple(threshold for threshold in found.values() if threshold is not None), tuple(notes)


def paired(vectors: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns the similarities (N,) of two arrays of vectors (N, D), row by row, in float64."""
    return np.einsum("nd,nd->n", vectors, others, dtype="float64")


def with_test_rates(
    thresholds: Sequence[CalibratedThreshold],
    measurement: Measurement,
    vectors: np.ndarray,
    split: TestSplit,
) -> tuple[CalibratedThreshold, ...]:
    """Returns thresholds with their rates on the test split, not used to calibrate them."""
    if measurement.retrieval is None:
        return tuple(thresholds)
    nearest = measurement.retrieval.neighbours[:, 0]
    found = nearest >= 0  # all, unless a query leaves out all of its neighbours
    nearest = split.gallery_rows[nearest[found]]
    similarities = paired(vectors[split.query_rows[found]], vectors[nearest])
    right = measurement.retrieval.first_positive[found] == 1
    results = []
    for threshold in thresholds:
        accepted, rate = similarities >= threshold.similarity, None
        if threshold.kind is ThresholdKind.PRECISION and accepted.any():
            rate = float(right[accepted].mean())
        elif threshold.kind is ThresholdKind.FAR and measurement.verification is not None:
            limits, rates, _ = measurement.verification.roc()
            rate = float(rates[np.searchsorted(-limits, -threshold.similarity, "right") - 1])
        results.append(replace(threshold, test_rate=rate, test_coverage=float(accepted.mean())))
    return tuple(results)
