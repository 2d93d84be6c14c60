"""Training from a recipe to a run: a folder with a trained and evaluated encoder."""

import contextlib
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dml._storage.atomic import atomic_path, write_text
from dml._storage.run_folder import RunFolder
from dml._storage.versions import installed_versions
from dml._streams import held_back
from dml.datasets import Items, RecordedItems
from dml.datasets._recorded import SEEN
from dml.encoding import embed_images
from dml.errors import DataError, DmlError, MissingDataError, OptionError
from dml.evaluation import retrieval
from dml.recipe import Recipe, load_recipe, load_run_recipe, read_source, training_loss
from dml.reporting import SILENT, Reporter
from dml.runs._measuring import embed, measure
from dml.runs._metrics import metrics_to_json
from dml.runs._splits import TestSplit, counted, dataset_label, unchanged_items
from dml.runs._starting import check_splits, descriptions, free_folder, minutes
from dml.runs.run import Run

if TYPE_CHECKING:
    from dml.training import Learner
    from dml.training.loader import TrainingBatches


class Trainer:
    """Trains the encoder that a recipe describes, evaluates it and writes a report.

    Args:
        recipe: As `dml.load_recipe` returns it.
        reporter: Receives lines of text and the progress of long work.

    Example:
        >>> recipe = dml.load_recipe("glyphs")
        >>> run = dml.Trainer(recipe).run("runs/mine")  # doctest: +SKIP
        >>> run.evaluation().metrics["R@1"].value  # doctest: +SKIP
        0.81
    """

    def __init__(self, recipe: Recipe, reporter: Reporter = SILENT):
        if not isinstance(recipe, Recipe):
            text = f"must be a Recipe, as dml.load_recipe returns it; got {recipe!r}"
            raise OptionError("recipe", text)
        self.recipe = recipe.with_absolute_paths()
        self._reporter = reporter

    def run(
        self,
        folder: str | os.PathLike[str] | None = None,
        name: str | None = None,
        evaluate: bool = True,
    ) -> Run:
        """Trains in a new folder.

        The recipe, every image and the learner are checked before anything is written.

        Args:
            folder: The run's folder; by default `runs/NAME`, with a number if that exists.
            name: The NAME; by default the data set's name.
            evaluate: Whether to evaluate the run on its test split at the end. Otherwise call
                `Run.evaluate`, or `resume`, which then has nothing left to train.

        Returns:
            The finished run.

        Raises:
            DmlError: The recipe, the data or the folder is invalid.
            DivergenceError: The loss is not finite; the last checkpoint is kept.
        """
        if folder is not None:
            RunFolder(folder).check_new()
        items = self.recipe.dataset.items()
        with _precision(self.recipe.training.precision):
            prepared = self._prepare(items)
            recorded = self._record(items)
            if recorded.unreadable():
                items = items.take(recorded.digests != "")
                prepared = self._prepare(items)
            name = name or dataset_label(self.recipe.dataset)
            run_folder = RunFolder(free_folder(Path("runs"), name) if folder is None else folder)
            with run_folder.writing():
                run_folder.create()
                recorded.write(run_folder.items)
                text = self.recipe.to_toml()
                write_text(run_folder.recipe, text)
                run_folder.begin(text, self.recipe.parts)
                run_folder.record(run_folder.items)
                return self._train(run_folder, items, prepared, evaluate)

    @classmethod
    def resume(
        cls,
        folder: str | os.PathLike[str],
        allow_parts: bool = False,
        evaluate: bool = True,
        reporter: Reporter = SILENT,
    ) -> Run:
        """Continues an interrupted run from its last checkpoint that can be read.

        The result is bit-identical to that of an uninterrupted training.

        Args:
            folder: The run's.
            allow_parts: Whether the Python files that its recipe lists under `parts` may be
                imported, which runs their code.
            evaluate: Whether to evaluate the run on its test split at the end.
            reporter: Receives lines of text and the progress of long work.

        Raises:
            DmlError: There is no run, its recipe is not the one that it started with, its images or
                files were changed, or another process writes it.
        """
        run_folder = RunFolder(folder)
        if not run_folder.recipe.exists():
            raise MissingDataError(folder, "there is no run to resume: recipe.toml is missing")
        with run_folder.writing():
            if not run_folder.manifest.exists():
                if run_folder.checkpoints.exists():  # otherwise it was stopped as it began
                    reporter.warning(
                        f"{run_folder.manifest} is missing: continuing with the current recipe.toml"
                    )
                parts = load_recipe(run_folder.recipe, allow_parts=allow_parts).parts
                run_folder.begin(read_source(run_folder.recipe).text, parts)
                run_folder.record(run_folder.items)
            trainer = cls(load_run_recipe(run_folder, allow_parts=allow_parts), reporter)
            items = trainer._resumed_items(run_folder)
            with _precision(trainer.recipe.training.precision):
                return trainer._train(run_folder, items, trainer._prepare(items), evaluate)

    def _prepare(self, items: Items) -> "_Prepared":
        """Sets the seed, checks the data, and returns the learner and its batches per epoch."""
        import keras

        recipe = self.recipe
        with held_back():  # it imports TensorFlow where it finds one, on any backend
            keras.utils.set_random_seed(recipe.training.seed)
        check_splits(items, dataset_label(recipe.dataset), recipe.training.views == 1)
        prepared = self._build(items.select("train"))
        for line in descriptions(recipe, items, prepared.steps):
            self._reporter.info(line)
        return prepared

    def _build(self, training_items: Items) -> "_Prepared":
        """Returns the compiled learner and its batches per epoch."""
        from dml.encoding.encoder import build_encoder
        from dml.training import Learner, build_optimizer

        recipe = self.recipe
        training, sampler = recipe.training, recipe.sampler
        steps = len(sampler.batches_of(training_items, epoch=0, seed=training.seed))
        if sampler.batch_size % training.chunks:
            raise OptionError(
                "training.chunks",
                f"must divide the batch of {sampler.batch_size} images; got {training.chunks}",
            )
        learner = Learner(
            build_encoder(recipe.backbone, recipe.embedding),
            training_loss(recipe),
            classes=len(training_items.class_names),
            augmentation=recipe.augmentation.layers(),
            regularizer=recipe.regularizer,
            chunks=training.chunks,
        )
        optimizer = build_optimizer(
            learner,
            recipe.optimizer,
            steps_per_epoch=steps,
            epochs=training.epochs,
            freeze_backbone_epochs=training.freeze_backbone_epochs,
        )
        learner.compile(optimizer)
        return _Prepared(learner, steps)

    def _record(self, items: Items) -> RecordedItems:
        """Returns the split and the digest of each image, for evaluations and `resume`.

        Raises:
            ImageError: An image can't be read, and the recipe does not skip unreadable images.
        """
        training = self.recipe.training
        reasons = {} if training.unreadable == "skip" else None
        with self._reporter.progress("reading the images", len(items)) as advance:
            recorded = RecordedItems.of(items, training.threads, advance, reasons)
        if reasons:
            first = f"{reasons[min(reasons)]}{', ...' if len(reasons) > 1 else ''}"
            self._reporter.info(
                f"left out as unreadable: {counted(recorded.unreadable())} ({first})"
            )
        return recorded

    def _resumed_items(self, folder: RunFolder) -> Items:
        """Returns the items that a run was started with.

        Raises:
            DataError: A training or validation image is missing or was changed.
        """
        recorded = RecordedItems.read(folder.checked(folder.items))
        items, changes = unchanged_items(
            recorded, self.recipe.dataset, SEEN, self.recipe.training.threads, self._reporter
        )
        if changes.missing.select(*SEEN) or changes.changed.select(*SEEN):
            raise DataError(
                folder.path,
                f"{changes}: the run can't continue unchanged; restore these images, or "
                "train again",
            )
        if text := str(changes):
            self._reporter.info(f"note: {text}; the run continues with its original images")
        return items

    def _train(self, folder: RunFolder, items: Items, prepared: "_Prepared", evaluate: bool) -> Run:
        """Trains the remaining epochs of a run, writes the encoder and evaluates it."""
        folder.write_json(folder.versions, _versions(self.recipe.training.seed))
        tests = len(items.select("test", "query"))
        if tests and evaluate and not _has_untrained(folder):
            folder.write_json(folder.untrained, self._untrained(prepared.learner.encoder, items))
        started = time.monotonic()
        state = self._fit(folder, items, prepared)
        self._write_encoder(folder, prepared.learner.encoder, state.best_epoch)
        took = minutes(time.monotonic() - started)
        self._reporter.info(f"trained in {took}: {folder.encoder}")
        run = Run(folder, allow_parts=True, reporter=self._reporter)  # they are imported already
        if tests and evaluate:
            evaluation = run._evaluate(None, ())
            for line in evaluation.lines():
                self._reporter.info(line)
            self._reporter.info(f"report: {folder.report}")
        return run

    def _untrained(self, encoder, items: Items) -> dict:
        """Returns the retrieval metrics of the untrained encoder, ready for JSON."""
        recipe, options = self.recipe, self.recipe.evaluation
        split = TestSplit.of(items, dataset_label(recipe.dataset))
        vectors = self._embed(encoder, split.items.paths, "embedding the test images")
        ks = options.ks or recipe.dataset.recall_ks
        measured = measure(split, vectors, ks, options.extra_metrics, reporter=self._reporter)
        return metrics_to_json(measured.metrics)

    def _fit(self, folder: RunFolder, items: Items, prepared: "_Prepared"):
        """Trains until the last epoch and returns the `TrainingState`."""
        from dml.training._callbacks import (
            Checkpoint,
            ProgressBars,
            RunRecorder,
            StopAtNan,
            TensorBoardScalars,
            TrainingState,
        )

        recipe, options, learner = self.recipe, self.recipe.training, prepared.learner
        state = Checkpoint(folder).load(learner, self._reporter)
        if state is None:
            state = TrainingState()
        else:
            self._reporter.info(f"resuming after epoch {state.epoch}")
        folder.trim_log(state.epoch)
        self._report_gaps(folder, state.epoch)
        training, validation = items.select("train"), items.select("val")
        recorder = RunRecorder(
            folder,
            state,
            validate=self._validation(learner.encoder, validation),
            validate_every=options.validate_every,
            epochs=options.epochs,
            reporter=self._reporter,
        )
        size = recipe.sampler.batch_size
        bars = self._reporter.training(options.epochs, prepared.steps, size, state.epoch)
        # The bars first: they must be hidden when the recorder prints.
        callbacks = [
            ProgressBars(bars),
            StopAtNan(folder),
            recorder,
            TensorBoardScalars(folder.tensorboard),
        ]
        reads_classes = "class_vectors" in recipe.sampler.wants
        unreadable = {}
        first_epoch = state.epoch
        for first, end in _spans(first_epoch, options.epochs, each_epoch=reads_classes):
            vectors = self._class_vectors(learner, training) if reads_classes and first else None
            batches = self._batches(training, first, vectors)
            recorder.coverage = _coverage_of(batches, training.labels)
            if first == first_epoch:
                name = recipe.names["sampler"]
                self._reporter.info(f"sampler {name}: {recorder.coverage(first)}")
            with bars, batches.named_errors():
                learner.fit(
                    batches,
                    steps_per_epoch=prepared.steps,
                    initial_epoch=first,
                    epochs=end,
                    callbacks=callbacks,
                    shuffle=False,
                    verbose=0,
                )
            unreadable.update(batches.unreadable)
        for reason in unreadable.values():
            self._reporter.info(f"left out of the training: {reason}")
        return state

    def _batches(
        self, items: Items, first_epoch: int, class_vectors: np.ndarray | None = None
    ) -> "TrainingBatches":
        """Returns the training batches, starting at an epoch.

        Args:
            items: Of the split `train`.
            first_epoch: From 0.
            class_vectors: Floats (classes, D), for samplers that need them.
        """
        from dml.training import training_batches

        recipe, options = self.recipe, self.recipe.training
        return training_batches(
            items,
            recipe.sampler,
            recipe.augmentation,
            recipe.backbone.input_size,
            first_epoch=first_epoch,
            seed=options.seed,
            on_unreadable=options.unreadable,
            threads=options.threads,
            samples=bool(recipe.memory.size),
            class_vectors=class_vectors,
        )

    def _validation(self, encoder, items: Items) -> Callable[[], dict[str, float]] | None:
        """Returns a function that measures R@1 in validation; None for fewer than two classes."""
        if len(items.class_names) < 2:
            return None

        def validate():
            vectors = self._embed(encoder, items.paths, "validating")
            return {"val_recall_at_1": float(retrieval(vectors, items.labels, ks=(1,)).recall[1])}

        return validate

    def _class_vectors(self, learner, items: Items) -> np.ndarray:
        """Returns the position of each class, (classes, D): the mean of its proxies or images."""
        import keras

        from dml.heads import ProxyHead

        if isinstance(learner.head, ProxyHead):
            return keras.ops.convert_to_numpy(learner.head.unit_proxies()).mean(axis=1)
        training = self.recipe.training
        vectors = embed_images(  # zeros, which have no effect, for images that are left out
            learner.encoder,
            items.paths,
            self.recipe.evaluation.batch_size,
            threads=training.threads,
            unreadable={} if training.unreadable == "skip" else None,
        )
        sums = np.zeros((len(items.class_names), vectors.shape[1]))
        np.add.at(sums, items.labels, vectors)
        return sums

    def _embed(self, encoder, paths, title: str) -> np.ndarray:
        """Returns the vectors (N, D) of images."""
        evaluation, threads = self.recipe.evaluation, self.recipe.training.threads
        return embed(encoder, paths, evaluation.batch_size, threads, title, self._reporter)

    def _report_gaps(self, folder: RunFolder, epochs: int):
        """Reports the epochs whose lines are missing in the log."""
        logged = {row["epoch"] for row in folder.read_log()}
        if lost := sorted(set(range(1, epochs + 1)) - logged):
            more = f" and {len(lost) - 1} more" if lost[1:] else ""
            self._reporter.warning(f"{folder.log}: the line of epoch {lost[0]}{more} can't be read")

    def _write_encoder(self, folder: RunFolder, encoder, best_epoch: int | None):
        """Writes the encoder: the best epoch's by the validation classes, or the last one's."""
        from dml.training._callbacks import Checkpoint

        if self.recipe.training.select == "best" and best_epoch:
            Checkpoint(folder).load_best(encoder, best_epoch)
        with atomic_path(folder.encoder) as path:
            encoder.save(path)
        folder.record(folder.encoder)


@contextlib.contextmanager
def _precision(policy: str) -> Iterator[None]:
    """Sets Keras' type policy, which belongs to the whole process, and restores it."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


@dataclass(frozen=True)
class _Prepared:
    """A learner that is ready to be trained.

    Args:
        learner: A compiled `dml.Learner`.
        steps: Batches per epoch.
    """

    learner: "Learner"
    steps: int


def _has_untrained(folder: RunFolder) -> bool:
    """Returns whether a run has the metrics of its untrained encoder."""
    try:
        folder.checked(folder.untrained)
    except DmlError:  # never written, or damaged: they can be measured again
        return False
    return True


def _spans(first: int, end: int, each_epoch: bool) -> list[tuple[int, int]]:
    """Returns the ranges (first, end) of epochs that are trained on one stream of batches.

    Batches that depend on the current weights must restart with each epoch, and not be read ahead.
    """
    if each_epoch:
        return [(epoch, epoch + 1) for epoch in range(first, end)]
    return [(first, end)]


def _coverage_of(batches, labels: np.ndarray):
    """Returns a function from an epoch to its `dml.samplers.Coverage`."""
    from dml.samplers import coverage

    return lambda epoch: coverage(batches.epoch_rows(epoch), labels)


def _versions(seed: int) -> dict:
    """Returns the versions and settings, other than the recipe, that a run's metrics depend on."""
    import keras

    names = ("dml", "keras", "tensorflow", "jax", "torch", "numpy", "grain", "faiss-cpu")
    return {
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "packages": installed_versions(*names),
        "processors": os.cpu_count(),
        "seed": seed,
    }
