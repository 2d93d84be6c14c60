"""A finished training run: its encoder, recipe and metrics."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dml._storage.atomic import atomic_path, write_text
from dml._storage.run_folder import RunFolder
from dml.datasets.base import DatasetPart
from dml.errors import DataError, DmlError, MissingDataError, OptionError
from dml.recipe import EvaluationOptions, Recipe, load_recipe, load_run_recipe, read_flags
from dml.reporting import SILENT, Reporter
from dml.runs import _evaluation_files
from dml.runs._baseline import SHAPE, Baseline
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
from dml.runs._parameters import SHAPE as PARAMETERS
from dml.runs._parameters import Parameters
from dml.runs._report import report_data
from dml.runs._splits import TestData, TestItems, TestSplit, without_splits
from dml.runs._throughput import throughput_of
from dml.runs._validation import read_candidates, validation_score
from dml.runs.evaluation import Evaluation

if TYPE_CHECKING:
    import keras

    from dml._storage.bundle import ExportFormat
    from dml.encoding._formats import Precision
    from dml.runs._export import ExportReport


class Run:
    """A finished training run in a folder: its encoder, recipe, log and evaluations.

    Args:
        path: The folder.
        allow_parts: Whether the Python files that the run's recipe lists under `parts` may be
            imported, which runs their code.
        reporter: Receives lines of text and the progress of long work.

    Attributes:
        path: The folder.

    Raises:
        MissingDataError: There is no finished run.

    Example:
        >>> run = dml.Run("runs/mine")  # doctest: +SKIP
        >>> run.evaluate().metrics["R@1"].value  # doctest: +SKIP
        0.91
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | RunFolder,
        allow_parts: bool = False,
        reporter: Reporter = SILENT,
    ):
        folder = path if isinstance(path, RunFolder) else RunFolder(path)  # it may be locked
        self._folder = folder.open()
        self.path: Path = self._folder.path
        self._allow_parts = allow_parts
        self._reporter = reporter

    def __repr__(self):
        return f"Run({str(self.path)!r})"

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe, with every option.

        Raises:
            DataError: It is not the one that the training started with, or has `parts` that are not
                allowed.
        """
        return load_run_recipe(self._folder, (), self._allow_parts)

    @property
    def report(self) -> Path:
        """The path of the report on the run's own data set."""
        return self._folder.report

    @property
    def index(self) -> Path:
        """The path for an index of its images, which may not exist."""
        return self._folder.index

    def encoder(self) -> "keras.Model":
        """Returns the trained encoder: uint8 images (B, H, W, 3) to unit vectors (B, D).

        Raises:
            DataError: The file is damaged or was changed.
        """
        from dml.encoding.encoder import load_encoder

        return load_encoder(self._folder.checked(self._folder.encoder))

    def log(self) -> list[dict[str, float]]:
        """Returns the logged metrics of each epoch, oldest first.

        A validation within an epoch is a row of its own: {"epoch": 2.25, ...}. The epochs of later
        stages, such as fine-tuning after the head, count on.
        """
        return self._folder.read_history()

    def evaluate(
        self,
        dataset: str | os.PathLike[str] | DatasetPart | None = None,
        flags: Sequence[str] = (),
    ) -> Evaluation:
        """Embeds a test split, measures it, and writes the metrics and the report.

        On its own data set a run is evaluated on the test split of its training, even if the data
        set has changed since; new images are left out, and missing ones are reported.

        Args:
            dataset: A data set's name, a recipe, a folder, a table, shards (as `load_recipe` takes
                them), or a part of `dml.datasets`, which is evaluated with its own options; by
                default the run's own. A data set with a test split (folders `train` and `test`, a
                table's column `split`, a published split) is evaluated on that split; any other as
                a whole, unless `flags` give a `test_fraction`. The protocol is `zero-shot` only if
                no class has the name of a training or validation class and no image is a copy of
                one of theirs.
            flags: `--dataset.option value` and `--evaluation.option value`, as on the command line;
                for the run's own data set, only `--dataset.root`; for a part, no `--dataset`
                option.

        Raises:
            DmlError: The run, the data set or an image is invalid, or another process writes the
                run.
        """
        with self._folder.writing():
            return self._evaluate(dataset, flags)

    def _evaluate(self, dataset, flags: Sequence[str]) -> Evaluation:
        """Implements `evaluate` for a caller that holds the run's lock."""
        data, options = self._test_data(dataset, flags)
        encoder = self.encoder()
        alike = data.is_own and options.exclude == self.recipe.evaluation.exclude
        baseline = self._baseline() if alike else None
        items = self._test_items(data, options.exclude)
        for note in items.notes:
            self._reporter.info(f"note: {note}")
        if data.is_own and not len(items.items.select("test", "query")):
            raise DataError(
                self.path, "has no test images, or none is left: evaluate it on others, with --on"
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
            named = items.items.select("train", "val", "test")
            linear = linear_metrics(self._embed(encoder, named.paths, options), named)
            metrics.update(linear.metrics)
            notes += linear.notes
        thresholds = ()
        if data.is_own:
            thresholds, further = self._calibrate(encoder, items, options)
            notes += further
        if baseline is not None and (note := self._note_on_embedding(baseline, metrics)):
            notes.append(note)
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

    def evaluation(
        self,
        dataset: str | os.PathLike[str] | DatasetPart | None = None,
        flags: Sequence[str] = (),
    ) -> Evaluation:
        """Returns an earlier result of `evaluate`, without evaluating again.

        Args:
            dataset: As for `evaluate`.
            flags: As for `evaluate`.

        Raises:
            MissingDataError: The run was not evaluated on this data set.
            DataError: The evaluation's file is damaged.
        """
        data, _ = self._test_data(dataset, flags)
        return self._read_evaluation(data, dataset)

    def rewrite_report(
        self,
        dataset: str | os.PathLike[str] | DatasetPart | None = None,
        flags: Sequence[str] = (),
    ) -> Path:
        """Rewrites the report of an evaluation from its vectors and metrics.

        Args:
            dataset: As for `evaluate`.
            flags: As for `evaluate`.

        Returns:
            The page.

        Raises:
            MissingDataError: The run was not evaluated on this data set.
            DataError: The evaluation's files are damaged.
            BusyError: Another process writes the run.
        """
        with self._folder.writing():
            data, options = self._test_data(dataset, flags)
            evaluation = self._read_evaluation(data, dataset)
            split, vectors = self._evaluated(evaluation)
            options = replace(options, clustering_seeds=0)
            measured = self._measure(split, vectors, data, options)
            return self._write_report(evaluation, split, vectors, measured, data.is_own, options)

    def export(
        self,
        to: "ExportFormat | str" = "onnx",
        precision: "Precision | str" = "float32",
        out: str | os.PathLike[str] | None = None,
        dataset: str | os.PathLike[str] | DatasetPart | None = None,
        flags: Sequence[str] = (),
    ) -> "ExportReport":
        """Writes the encoder as a bundle for another runtime, after comparing both on real images.

        Args:
            to: `onnx`, `saved-model`, `litert` or `keras`.
            precision: `float32`, `half` or `int8`.
            out: The bundle's folder; by default `bundle`, `bundle-litert`, ... in the run's folder.
            dataset: As for `evaluate`; its images are used for the comparison.
            flags: As for `evaluate`.

        Returns:
            The path of the bundle, and the comparison of its vectors with the trained encoder's.

        Raises:
            DataError: The exported encoder differs too much from the trained one; nothing is
                written.
            OccupiedError: `out` exists already.
        """
        from dml.runs._export import export

        return export(self, to, precision, out, dataset, flags)

    def _test_data(
        self, dataset=None, flags: Sequence[str] = ()
    ) -> tuple[TestData, EvaluationOptions]:
        """Returns the data set that arguments of `evaluate` specify, and the evaluation options."""
        flagged = set()
        for section, option, _ in read_flags(flags):
            if section not in ("dataset", "evaluation"):
                raise OptionError(
                    f"--{section}.{option}",
                    "is not an option of an evaluation: use --dataset and --evaluation options",
                )
            if dataset is None and section == "dataset" and option != "root":
                raise OptionError(
                    f"--dataset.{option}",
                    "can't change: a run is evaluated on the test split of its training, and only "
                    "--dataset.root may differ; use --on to evaluate it on other data",
                )
            flagged.add((section, option))
        if dataset is None:
            recipe = load_run_recipe(self._folder, flags, self._allow_parts)
            return TestData(recipe.dataset, is_own=True), recipe.evaluation
        if isinstance(dataset, DatasetPart):
            if given := [option for section, option in flagged if section == "dataset"]:
                text = "can't be set for a part, which has its own options: set it there"
                raise OptionError(f"--dataset.{given[0]}", text)
            options = load_run_recipe(self._folder, flags, self._allow_parts).evaluation
            return TestData(dataset, is_own=False), options
        load_run_recipe(self._folder, (), self._allow_parts)  # before any data is read
        other = load_recipe(dataset, flags, self._allow_parts)
        whole, options = without_splits(other.dataset), other.evaluation
        if Path(dataset).suffix == ".toml":
            whole.pop("test_fraction", None)
        else:
            own = [f"--evaluation.{o}={v}" for s, o, v in read_flags(flags) if s == "evaluation"]
            options = load_run_recipe(self._folder, own, self._allow_parts).evaluation
        unset = {name: v for name, v in whole.items() if ("dataset", name) not in flagged}
        return TestData(replace(other.dataset, **unset), is_own=False), options

    def _read_evaluation(self, data: TestData, dataset) -> Evaluation:
        """Returns the evaluation on a data set; `dataset` names it in the message."""
        path = self._folder.evaluation(data.folder_name)
        if not (path / "metrics.json").exists():
            on = "" if dataset is None else f" --on {dataset}"
            raise MissingDataError(
                path, f"there is no evaluation: run `dml evaluate {self.path}{on}`"
            )
        return Evaluation.read(self._folder, path)

    def _test_items(self, data: TestData, exclude: str = "none") -> TestItems:
        """Returns the images to evaluate on; the recipe decides how to handle unreadable ones."""
        training = self.recipe.training
        skip = training.unreadable == "skip"
        return data.read(self._folder, exclude, skip, training.threads, self._reporter)

    def _baseline(self) -> Baseline | None:
        """Returns what the frozen network reached; None if it was not measured."""
        if not self._folder.frozen.exists():
            return None
        return Baseline.from_json(self._folder.read_json(self._folder.frozen, SHAPE))

    def _with_test(
        self, baseline: Baseline, split: TestSplit, data: TestData, options: EvaluationOptions
    ) -> Baseline:
        """Returns what the frozen network reached, with the test split, and keeps it."""
        try:
            network = frozen_network(self.recipe)
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

    def _note_on_embedding(
        self, baseline: Baseline, metrics: Mapping[str, MetricValue] | None = None
    ) -> str:
        """Returns a line on an embedding that is too short; empty for any other.

        Args:
            baseline: Of the frozen network.
            metrics: Of the test split.
        """
        recipe, test = self.recipe, (metrics or {}).get("R@1")
        if not recipe.backbone.is_pretrained:
            return ""
        validation = validation_score(self._folder, recipe.training)
        return baseline.note_on_embedding(recipe.embedding.dim, validation, test and test.value)

    def _parameters(self) -> Parameters | None:
        """Returns how many parameters were trained; None for a run without that file."""
        if not self._folder.parameters.exists():
            return None
        return Parameters(**self._folder.read_json(self._folder.parameters, PARAMETERS))

    def _candidates(self) -> list[tuple[str, float, bool]]:
        """Returns (name, R@1 in validation, chosen) of the encoders to choose from, if any."""
        candidates = read_candidates(self._folder)
        return [(str(found), found.validation, found.chosen) for found in candidates]

    def _own_evaluation(self) -> Evaluation | None:
        """Returns the evaluation on the run's own data set, or None."""
        if not self._folder.metrics.exists():
            return None
        value = self._folder.read_json(self._folder.metrics, _evaluation_files.SHAPE)
        data = TestData(self.recipe.dataset, is_own=True)
        return Evaluation.from_json(self._folder.evaluation(data.folder_name), value)

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

    def _calibrate(self, encoder, items: TestItems, options: EvaluationOptions):
        """Returns thresholds calibrated on the validation split, and notes on them."""
        if self.recipe.training.refit and len(items.items.select("val")):
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
        threads = self.recipe.training.threads
        return embed(encoder, paths, options.batch_size, threads, title, reporter)

    def _evaluated(self, evaluation: Evaluation) -> tuple[TestSplit, np.ndarray]:
        """Returns the test split of an evaluation, and its vectors."""
        items = self._folder.checked(evaluation.path / "items.parquet")
        split = TestSplit.read(items, evaluation.protocol, evaluation.dataset, evaluation.exclude)
        vectors = self._folder.checked(evaluation.path / "vectors.npy")
        return split, read_vectors(vectors, len(split.items))

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
            title=f"{self.recipe.names['loss']} on {evaluation.dataset}",
            trained=str(self._parameters() or ""),
            speed=str(throughput_of(self._folder) or ""),
            history=self.log(),
            candidates=self._candidates(),
            recipe=self.recipe.to_toml(),
            versions=self._folder.read_json(self._folder.versions),
            seed=self.recipe.training.seed,
        )
        pages = [evaluation.report, *([self._folder.report] if is_own else [])]
        html = render_report(data)
        for page in pages:
            write_text(page, html)
        if is_own and options.tensorboard:
            write_board(self._folder.tensorboard / "evaluation", data)
        return pages[-1]
