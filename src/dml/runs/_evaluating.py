"""Evaluates a run: embeds a test split, measures it, and writes the metrics and the report."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from dml._storage.atomic import atomic_path, write_text
from dml._storage.run_folder import RunFolder
from dml.errors import DataError, DmlError
from dml.recipe import EvaluationOptions, Recipe
from dml.reporting import SILENT, Reporter
from dml.runs._baseline import Baseline
from dml.runs._evaluation_files import read_vectors
from dml.runs._learners import frozen_network
from dml.runs._measuring import (
    Measurement,
    calibrate,
    embed,
    linear_metrics,
    measure,
    with_test_rates,
)
from dml.runs._metrics import MetricValue
from dml.runs._parameters import parameters_of
from dml.runs._report import report_data
from dml.runs._splits import TestData, TestItems, TestSplit
from dml.runs._throughput import throughput_of
from dml.runs._validation import read_candidates, validation_score
from dml.runs.evaluation import Evaluation


class Evaluator:
    """Evaluates a run in its folder, which the caller has locked.

    Args:
        folder: The run.
        recipe: Its recipe.
        reporter: Receives lines of text and the progress of long work.
    """

    def __init__(self, folder: RunFolder, recipe: Recipe, reporter: Reporter):
        self._folder = folder
        self._recipe = recipe
        self._reporter = reporter

    def evaluate(self, encoder: Any, data: TestData, options: EvaluationOptions) -> Evaluation:
        """Measures an encoder on the test split of a data set, and writes what it finds.

        Args:
            encoder: The run's.
            data: The data set.
            options: The options of the evaluation.

        Raises:
            DmlError: The data set or an image is invalid.
        """
        alike = data.is_own and options.exclude == self._recipe.evaluation.exclude
        known = alike and self._folder.frozen.exists()
        baseline = Baseline.read(self._folder) if known else None
        items = data.read(self._folder, self._recipe.training, self._reporter, options.exclude)
        if data.is_own and not len(items.items.select("test", "query")):
            raise DataError(
                self._folder.path,
                "has no test images, or none is left: evaluate it on others, with --on",
            )
        split = TestSplit.of(items.items, data.label, options.exclude)
        started = time.monotonic()
        path = self._folder.evaluation(data.folder_name)
        vectors = self._embed(encoder, split.items.paths, options, "embedding the test images")
        measured = self._measure(split, vectors, data, options, path / "unfinished")
        metrics, notes = dict(measured.metrics), list(measured.notes)
        if baseline is not None and not baseline.metrics:
            baseline = self._with_test(baseline, split, data, options)
        if items.items.protocol == "seen-class":
            linear = self._measure_linearly(encoder, items, options)
            metrics.update(linear.metrics)
            notes += linear.notes
        thresholds = ()
        if data.is_own:
            thresholds, further = self._calibrate(encoder, items, options)
            notes += further
        if baseline is not None:
            notes += notes_on_result(baseline, self._folder, self._recipe, metrics)
        for note in notes:
            self._reporter.info(f"note: {note}")
        evaluation = Evaluation(
            path=path,
            dataset=data.label,
            protocol=items.protocol,
            exclude=options.exclude,
            queries=len(split.query_rows),
            excluded=measured.retrieval.excluded if measured.retrieval else len(split.query_rows),
            gallery=len(split.gallery_rows),
            classes=len(split.items.take(split.query_rows).label_names),
            metrics=metrics,
            frozen={} if baseline is None else baseline.metrics,
            thresholds=with_test_rates(thresholds, measured, vectors, split),
            seen=items.seen,
            unreadable=items.unreadable,
            since_training=items.since_training,
            seconds=round(time.monotonic() - started, 1),
            notes=(*items.notes, *notes),
        )
        self._write(evaluation, split, vectors, data.is_own)
        self._write_report(evaluation, split, vectors, measured, data.is_own, options)
        return evaluation

    def rewrite_report(
        self, evaluation: Evaluation, data: TestData, options: EvaluationOptions
    ) -> Path:
        """Writes the report of an evaluation again, from its vectors and metrics.

        Args:
            evaluation: The evaluation.
            data: Its data set.
            options: Its options.

        Returns:
            The page.

        Raises:
            DataError: The evaluation's files are damaged.
        """
        split, vectors = read_evaluated(self._folder, evaluation)
        options = replace(options, clustering_seeds=0)
        measured = self._measure(split, vectors, data, options)
        return self._write_report(evaluation, split, vectors, measured, data.is_own, options)

    def _with_test(
        self, baseline: Baseline, split: TestSplit, data: TestData, options: EvaluationOptions
    ) -> Baseline:
        """Returns what the frozen network reached, with the test split, and keeps it."""
        try:
            network = frozen_network(self._recipe)
        except DmlError as error:
            self._reporter.info(f"note: the frozen network is not measured: {error}")
            return baseline
        title = "frozen network on the test images"
        vectors = self._embed(network, split.items.paths, options, title)
        retrieval_alone = replace(options, clustering_seeds=0, verification=False)
        measured = self._measure(split, vectors, data, retrieval_alone)
        baseline = replace(baseline, metrics=measured.metrics)
        self._folder.write_json(self._folder.frozen, baseline.to_json())
        return baseline

    def _measure(
        self,
        split: TestSplit,
        vectors: np.ndarray,
        data: TestData,
        options: EvaluationOptions,
        unfinished: Path | None = None,
    ) -> Measurement:
        """Measures the metrics that the options request."""
        return measure(
            split,
            vectors,
            ks=options.ks_for(data.dataset),
            extra_metrics=options.extra_metrics,
            clustering_seeds=options.clustering_seeds,
            verify=options.verification,
            unfinished=unfinished,
            reporter=self._reporter,
        )

    def _measure_linearly(
        self, encoder: Any, items: TestItems, options: EvaluationOptions
    ) -> Measurement:
        """Measures how well a linear classifier finds the classes, which it has seen."""
        named = items.items.select("train", "val", "test")
        return linear_metrics(self._embed(encoder, named.paths, options), named)

    def _calibrate(self, encoder, items: TestItems, options: EvaluationOptions):
        """Returns thresholds calibrated on the validation split, and notes on them."""
        if self._recipe.training.refit and len(items.items.select("val")):
            text = "no calibrated thresholds: training.refit trains on the validation images, too"
            return (), (text,)
        validation, trained = items.items.select("val"), items.items.select("train")
        vectors = self._embed(encoder, validation.paths, options)
        thresholds, notes = calibrate(
            vectors, validation, options.target_precision, options.target_far, options.exclude
        )
        shared = set(validation.label_names) & set(trained.label_names)
        if thresholds and items.items.protocol != "seen-class" and shared:
            notes = (
                *notes,
                "the thresholds were chosen on images of training classes; for other classes they "
                "may accept more",
            )
        return thresholds, notes

    def _embed(self, encoder, paths, options: EvaluationOptions, title: str = "") -> np.ndarray:
        """Returns the vectors (N, D) of images; shows the progress if there is a title."""
        reporter = self._reporter if title else SILENT
        threads = self._recipe.training.threads
        return embed(encoder, paths, options.batch_size, threads, title, reporter)

    def _write(self, evaluation: Evaluation, split: TestSplit, vectors: np.ndarray, is_own: bool):
        """Writes an evaluation's vectors, items and metrics."""
        path = evaluation.path
        with atomic_path(path / "vectors.npy") as temporary:
            np.save(temporary, vectors)
        split.write(path / "items.parquet")
        self._folder.record(path / "vectors.npy", path / "items.parquet")
        self._folder.write_json(path / "metrics.json", evaluation.to_json())
        if is_own:
            self._folder.write_json(self._folder.metrics, evaluation.to_json())

    def _write_report(
        self,
        evaluation: Evaluation,
        split: TestSplit,
        vectors: np.ndarray,
        measured: Measurement,
        is_own: bool,
        options: EvaluationOptions,
    ) -> Path:
        """Writes an evaluation's report; for the run's own data set, the run's report as well."""
        from dml.report import render_report
        from dml.report._board import write_board

        data = report_data(
            evaluation,
            split,
            vectors,
            measured,
            title=f"{self._recipe.names['loss']} on {evaluation.dataset}",
            trained=str(parameters_of(self._folder) or ""),
            speed=str(throughput_of(self._folder) or ""),
            history=self._folder.read_history(),
            candidates=[
                (str(found), found.validation, found.chosen)
                for found in read_candidates(self._folder)
            ],
            recipe=self._recipe.to_toml(),
            versions=self._folder.read_json(self._folder.versions),
            seed=self._recipe.training.seed,
        )
        pages = [evaluation.report, *([self._folder.report] if is_own else [])]
        html = render_report(data)
        for page in pages:
            write_text(page, html)
        if is_own and options.tensorboard:
            write_board(self._folder.tensorboard / "evaluation", data)
        return pages[-1]


def read_evaluated(folder: RunFolder, evaluation: Evaluation) -> tuple[TestSplit, np.ndarray]:
    """Returns the test split of a run's evaluation, and its vectors.

    Raises:
        DataError: A file is damaged.
    """
    items = folder.checked(evaluation.path / "items.parquet")
    split = TestSplit.read(items, evaluation.protocol, evaluation.dataset, evaluation.exclude)
    vectors = folder.checked(evaluation.path / "vectors.npy")
    return split, read_vectors(vectors, len(split.items))


def notes_on_result(
    baseline: Baseline,
    folder: RunFolder,
    recipe: Recipe,
    metrics: Mapping[str, MetricValue] | None = None,
) -> Iterator[str]:
    """Yields a line if the result of a run is worse than the frozen network.

    Args:
        baseline: The baseline of the frozen network.
        folder: The run.
        recipe: Its recipe.
        metrics: Those of the test split, if it was measured.
    """
    test = (metrics or {}).get("R@1")
    validation = validation_score(folder, recipe.training)
    dim = recipe.embedding.dim if recipe.backbone.is_pretrained else 0
    if note := baseline.note_on_result(dim, validation, test and test.value):
        yield note
