"""A finished training run: its encoder, recipe and metrics."""

import os
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from dml._storage.run_folder import RunFolder
from dml.datasets.base import DatasetPart
from dml.errors import MissingDataError
from dml.recipe import EvaluationOptions, Recipe, load_run_recipe
from dml.reporting import SILENT, Reporter
from dml.runs import _evaluation_files
from dml.runs._evaluating import Evaluator
from dml.runs._evaluation_arguments import evaluated_data
from dml.runs._splits import TestData
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
            data, options = self._data(dataset, flags)
            return self._evaluator().evaluate(self.encoder(), data, options)

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
        data, _ = self._data(dataset, flags)
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
            data, options = self._data(dataset, flags)
            evaluation = self._read_evaluation(data, dataset)
            return self._evaluator().rewrite_report(evaluation, data, options)

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
        from dml.runs._export import ExportTarget, compared_items, export

        target = ExportTarget.of(self.path, to, precision, out)
        data, _ = self._data(dataset, flags)
        encoder, evaluation = self.encoder(), self._own_evaluation()
        items = compared_items(self._folder, data, self.recipe.training, self._reporter)
        return export(encoder, items, target, evaluation, self._reporter)

    def _data(
        self, dataset: str | os.PathLike[str] | DatasetPart | None, flags: Sequence[str]
    ) -> tuple[TestData, EvaluationOptions]:
        """Returns the data set that arguments of `evaluate` specify, and the evaluation options."""
        return evaluated_data(self._folder, self._allow_parts, dataset, flags)

    def _evaluator(self) -> Evaluator:
        return Evaluator(self._folder, self.recipe, self._reporter)

    def _read_evaluation(self, data: TestData, dataset) -> Evaluation:
        """Returns the evaluation on a data set; `dataset` names it in the message."""
        path = self._folder.evaluation(data.folder_name)
        if not (path / "metrics.json").exists():
            on = "" if dataset is None else f" --on {dataset}"
            raise MissingDataError(
                path, f"there is no evaluation: run `dml evaluate {self.path}{on}`"
            )
        return Evaluation.read(self._folder, path)

    def _own_evaluation(self) -> Evaluation | None:
        """Returns the evaluation on the run's own data set, or None."""
        if not self._folder.metrics.exists():
            return None
        value = self._folder.read_json(self._folder.metrics, _evaluation_files.SHAPE)
        data = TestData(self.recipe.dataset, is_own=True)
        return Evaluation.from_json(self._folder.evaluation(data.folder_name), value)
