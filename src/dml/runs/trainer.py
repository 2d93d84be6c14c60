"""Training from a recipe to a run: a folder with a trained and evaluated encoder."""

import contextlib
import dataclasses
import gc
import os
import platform
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dml._devices import devices_in_use, on_devices, on_own_devices
from dml._durations import minutes
from dml._options import check_positive
from dml._processes import (
    check_alone,
    check_same,
    from_first,
    process_count,
    process_index,
    send_folder,
)
from dml._storage.atomic import atomic_path, write_text
from dml._storage.records import sha256
from dml._storage.run_folder import RunFolder
from dml._storage.versions import installed_versions
from dml._streams import held_back
from dml._text import number_of
from dml.datasets import Items, RecordedItems
from dml.datasets._recorded import SEEN
from dml.errors import DataError, OptionError
from dml.recipe import Recipe, read_source, recipe_to_resume
from dml.reporting import SILENT, Reporter
from dml.runs._aspect import with_best_aspect
from dml.runs._baseline import Baseline
from dml.runs._checks import (
    check_proxies,
    check_sample,
    check_splits,
    check_stage,
    check_statistics,
)
from dml.runs._descriptions import (
    describe_data,
    describe_training,
    notes_on,
    notes_on_memory,
    unused_options,
)
from dml.runs._evaluating import Evaluator, notes_on_result
from dml.runs._folders import check_out, claimed_folder
from dml.runs._learners import image_learner, precision, with_smaller_batches
from dml.runs._parameters import Parameters
from dml.runs._selection import ChosenTraining
from dml.runs._sharing import Shares, check_shares, devices_to_resume, training_devices
from dml.runs._splits import TestData, counted, dataset_label, recorded_items, unchanged_items
from dml.runs._stage_plan import StageName, StagePlan
from dml.runs._targets import check_targets
from dml.runs._throughput import throughput_of
from dml.runs._times import StageTimes
from dml.runs._trackers import check_trackers
from dml.runs._training import StagedTraining
from dml.runs._validation import is_measured
from dml.runs.run import Run

if TYPE_CHECKING:
    from dml.runs._planning import Plan
    from dml.training import Learner


_PACKAGES = ("dml", "keras", "tensorflow", "jax", "torch", "numpy", "grain", "faiss-cpu")


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
        recipe = recipe.with_absolute_paths()
        try:
            backbone = recipe.backbone.resolved()
        except OptionError as error:
            option = error.option.removeprefix("backbone.")
            raise OptionError(f"backbone.{option}", error.text) from None
        self.recipe = dataclasses.replace(recipe, backbone=backbone)
        self._reporter = reporter if process_index() == 0 else SILENT

    def run(
        self,
        folder: str | os.PathLike[str] | None = None,
        name: str | None = None,
        evaluate: bool = True,
    ) -> Run:
        """Trains in a new folder.

        The recipe, every image and the learner are checked before anything is written. Of several
        processes that train together (`dml.join_processes`), the first writes the folder, reports
        and evaluates.

        Args:
            folder: The run's folder; by default `runs/NAME`, with a number if that exists.
            name: The NAME; by default the data set's name.
            evaluate: Whether to evaluate the run on its test split at the end. Otherwise call
                `Run.evaluate`, or `resume`, which then has nothing left to train.

        Returns:
            The finished run; in other processes than the first, a copy of it without evaluation,
            which is removed when they end.

        Raises:
            DmlError: The recipe, the data or the folder is invalid, or another process writes that;
                or processes that train together have different ones.
            DivergenceError: The loss is not finite; the last checkpoint is kept.
        """
        return self._run(folder, name, evaluate)

    def _run(
        self,
        folder: str | os.PathLike[str] | None,
        name: str | None = None,
        evaluate: bool = True,
        recorded: RecordedItems | None = None,
        features: Path | None = None,
        describe: bool = True,
    ) -> Run:
        """Implements `run`.

        Args:
            folder: As for `run`, like the next two.
            name: The name.
            evaluate: Whether to evaluate.
            recorded: The images to train on, if they have been read already; by default all of the
                data set's.
            features: A folder for the cached features of a head stage, which other runs of the same
                images and backbone can share; by default in the run's.
            describe: Whether to report first what is trained on which data, as a plan does, too.
        """
        if folder is not None:
            from_first(RunFolder(folder).check_new)
            check_out(folder, self.recipe.dataset)
        devices = self._devices()
        _check_features(features)
        items = self.recipe.dataset.items() if recorded is None else recorded.items
        self._check_same(items)
        times = StageTimes()
        with self._on(devices):
            prepared = self._prepare(self.recipe, items)  # before anything is written
            recipe = prepared.recipe
            if describe:
                self._describe(items, prepared)
            with claimed_folder(folder, name or dataset_label(recipe.dataset)) as run_folder:
                if recorded is None:
                    with times.of(StageName.READING):
                        recorded = self._record(items)
                check_same(lambda: {"images": "".join(recorded.digests)})
                if recorded.unreadable() or recipe.training.select_aspect:
                    del prepared  # there would be two models with their optimizers
                    gc.collect()
                    items = items.take(recorded.digests != "")
                    if recipe.training.select_aspect:
                        with times.of(StageName.FROZEN):
                            validation = items.select("val")
                            recipe = with_best_aspect(recipe, validation, self._reporter)
                    prepared = self._prepare(recipe, items)
                recorded.write(run_folder.items)
                text = prepared.recipe.to_toml()
                write_text(run_folder.recipe, text)
                run_folder.begin(text, recipe.parts, run_folder.items)
                return self._train(run_folder, items, prepared, evaluate, features, times)

    @classmethod
    def resume(
        cls,
        folder: str | os.PathLike[str],
        allow_parts: bool = False,
        evaluate: bool = True,
        reporter: Reporter = SILENT,
    ) -> Run:
        """Continues an interrupted run from its last checkpoint that can be read.

        The result is bit-identical to that of an uninterrupted training. Several processes that
        train together (`dml.join_processes`) may continue a run of any number of them; only the
        first needs its folder.

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
        return cls._resume(folder, allow_parts, evaluate, reporter)

    @classmethod
    def _resume(
        cls,
        folder: str | os.PathLike[str],
        allow_parts: bool,
        evaluate: bool,
        reporter: Reporter,
        features: Path | None = None,
    ) -> Run:
        """Implements `resume`; `features` are as for `_run`."""
        _check_features(features)
        reporter = reporter if process_index() == 0 else SILENT
        with _to_resume(folder) as run_folder:
            recipe = recipe_to_resume(run_folder, allow_parts)
            if not run_folder.manifest.exists():
                # Otherwise it was stopped as it began.
                if any(stage.checkpoints.exists() for stage in run_folder.stages):
                    reporter.warning(
                        f"{run_folder.manifest} is missing: continuing with the current recipe.toml"
                    )
                text = read_source(run_folder.recipe).text
                run_folder.begin(text, recipe.parts, run_folder.items)
            trainer = cls(recipe, reporter)
            devices = devices_to_resume(
                trainer.recipe, lambda: recorded_items(run_folder), reporter
            )
            items = trainer._resumed_items(run_folder)
            trainer._check_same(items)
            with trainer._on(devices):
                prepared = trainer._prepare(trainer.recipe, items)
                trainer._describe(items, prepared)
                times = StageTimes()
                return trainer._train(run_folder, items, prepared, evaluate, features, times)

    def plan(self, budget: float | None = None) -> "Plan":
        """Times a few batches and returns what the training should take; writes nothing.

        The training is the same with or without a plan.

        Args:
            budget: Seconds that the training and its evaluation may take, from now on; None for any
                time. The plan's recipe has as many epochs as that allows, and no more than this
                recipe.

        Raises:
            DmlError: As for `run`; or nothing can be done in the budget.

        Example:
            >>> plan = dml.Trainer(recipe).plan(20 * 60)  # doctest: +SKIP
            >>> run = dml.Trainer(plan.recipe).run("runs/mine")  # doctest: +SKIP
        """
        if budget is not None:
            check_positive(budget=budget)
        return self._plan(budget)

    def _plan(
        self,
        budget: float | None,
        further: Sequence[StageName] = (),
        spent: float = 0.0,
        items: Items | None = None,
    ) -> "Plan":
        """Implements `plan`.

        Args:
            budget: As for `plan`.
            further: As for `make_plan`, like the next.
            spent: Seconds that were spent before.
            items: The images that can be read, if that is known; by default all of them.
        """
        from dml.runs._planning import Counts, choices_of, make_plan, time_batches

        started = time.monotonic()
        check_alone("a plan, --budget or --dry-run: leave out --processes")
        devices = self._devices()
        items = self.recipe.dataset.items() if items is None else items
        training = items.select("train")
        with self._on(devices):
            prepared = self._prepare(self.recipe, items)
            recipe, learner = prepared.recipe, prepared.take()
            timing = time_batches(learner, training, recipe)
        spent += time.monotonic() - started
        has_proxies = learner.head is not None
        choices = choices_of(recipe, training, prepared.parameters, prepared.steps, has_proxies)
        counts = Counts.of(items, prepared.steps)
        return make_plan(recipe, counts, timing, budget, further, spent, choices)

    def _devices(self) -> int:
        """Returns on how many devices the recipe trains."""
        training = self.recipe.training
        batch_size = self.recipe.sampler.batch_size
        return training_devices(training.devices, training.chunks, batch_size)

    def _check(self, items: Items) -> None:
        """Reports what is to be trained on which data.

        Raises:
            DmlError: The recipe or the data is invalid.
        """
        with self._on(self._devices()):
            self._describe(items, self._prepare(self.recipe, items))

    def _prepare(self, recipe: Recipe, items: Items) -> "_Prepared":
        """Sets the seed, checks the data, and builds the learner of a recipe.

        Args:
            recipe: The trainer's, or what was made of it.
            items: All splits.
        """
        import keras

        recipe = self._with_batches_that_fit(recipe, int((items.splits == "train").sum()))
        check_stage(recipe)
        check_shares(Shares.of(recipe, lambda: items), devices_in_use())
        check_trackers(recipe.training.trackers)
        with held_back():  # it imports TensorFlow where it finds one, on any backend
            keras.utils.set_random_seed(recipe.training.seed)
        self._check_splits(items)
        return self._build(recipe, items.select("train"))

    def _with_batches_that_fit(self, recipe: Recipe, images: int) -> Recipe:
        """Returns a recipe with smaller batches if so many images don't fill them; reports it."""
        smaller = with_smaller_batches(recipe, images)
        if smaller is not recipe and images:
            size = number_of(smaller.sampler.batch_size, "image")
            self._reporter.info(
                f"note: batches of {size}, not {recipe.sampler.batch_size}: there are "
                f"{images:,} to train on"
            )
        return smaller

    @contextlib.contextmanager
    def _on(self, devices: int) -> Iterator[None]:
        """Sets precision and devices of the training, inside a `with` block."""
        training = self.recipe.training
        with precision(training.precision), on_devices(devices, training.shard_proxies):
            yield

    def _describe(self, items: Items, prepared: "_Prepared"):
        """Reports the data and what is trained on it."""
        recipe = prepared.recipe
        self._reporter.info(describe_data(items, recipe.dataset.name))
        validated = is_measured(items.select("val"))
        self._reporter.info(
            describe_training(recipe, prepared.parameters, prepared.steps, validated)
        )
        for line in (*notes_on(items), *notes_on_memory(recipe, prepared.steps)):
            self._reporter.info(line)
        if unused := unused_options(recipe):
            self._reporter.info(
                f"note: training.stage = head leaves out {', '.join(unused)}, which are for "
                "training the backbone"
            )

    def _check_splits(self, items: Items):
        """Raises an error for splits from which nothing can be learned or measured."""
        recipe = self.recipe
        has_labels, exclude = recipe.training.views == 1, recipe.evaluation.exclude
        check_splits(items, dataset_label(recipe.dataset), has_labels, exclude)
        check_targets(recipe, items)
        if recipe.training.patience and not is_measured(items.select("val")):
            raise OptionError(
                "training.patience",
                "needs two validation classes, by which it stops: raise "
                "dataset.validation_fraction, or set patience to 0",
            )

    def _build(self, recipe: Recipe, training_items: Items) -> "_Prepared":
        """Returns a recipe with its compiled learner and its batches per epoch."""
        training, sampler = recipe.training, recipe.sampler
        steps = len(sampler.batches_of(training_items, epoch=0, seed=training.seed))
        if sampler.batch_size % training.chunks:
            raise OptionError(
                "training.chunks",
                f"must divide the batch of {sampler.batch_size} images; got {training.chunks}",
            )
        classes = len(training_items.label_names)
        check_sample(recipe.head.sample, classes, sampler.batch_size)
        learner = image_learner(recipe, classes, steps)
        check_statistics(recipe, learner.encoder)
        check_proxies(recipe, learner)
        return _Prepared(
            recipe, learner, Parameters.of(learner.encoder, whole=StagePlan.of(recipe).whole), steps
        )

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

    def _train(
        self,
        folder: RunFolder,
        items: Items,
        prepared: "_Prepared",
        evaluate: bool,
        features: Path | None,
        times: StageTimes,
    ) -> Run:
        """Trains the remaining epochs of a run, writes the encoder and evaluates it."""
        recipe = prepared.recipe
        times.keep_in(folder)
        folder.write_json(folder.versions, _versions(recipe.training.seed))
        folder.write_json(folder.parameters, vars(prepared.parameters))
        evaluate = evaluate and len(items.select("test", "query")) > 0
        kept = folder.features if features is None else features
        learner = prepared.take()
        training = StagedTraining(
            recipe, folder, items, learner, prepared.steps, self._reporter, kept, times=times
        )
        with times.of(StageName.FROZEN):
            training.measure_frozen(test=evaluate)
        started = time.monotonic()
        choice = training.fit()
        encoder = learner.encoder
        if recipe.training.refit and (items.splits == "val").any():
            del training, learner, encoder  # there would be two models with their optimizers
            gc.collect()
            with times.of(StageName.REFIT):
                encoder = self._refit(recipe, folder, items, choice, kept)
        if features is None and folder.features.exists():
            shutil.rmtree(folder.features)
        self._write_encoder(folder, encoder)
        took = minutes(time.monotonic() - started)
        speed = throughput_of(folder)
        how = "" if speed is None else f" ({speed})"
        self._reporter.info(f"trained in {took}{how}: {folder.encoder}")
        run = Run(folder, allow_parts=True, reporter=self._reporter)  # they are imported already
        if evaluate:
            from_first(lambda: self._evaluate(run, folder, times))
        else:
            for note in notes_on_result(Baseline.read(folder), folder, recipe):
                self._reporter.info(f"note: {note}")
        return run

    def _evaluate(self, run: Run, folder: RunFolder, times: StageTimes) -> None:
        """Evaluates a run, whose folder is locked, on the devices of this process alone."""
        evaluator = Evaluator(folder, run.recipe, self._reporter)
        data = TestData(run.recipe.dataset, is_own=True)
        with times.of(StageName.EVALUATION), on_own_devices():
            evaluation = evaluator.evaluate(run.encoder(), data, run.recipe.evaluation)
        for line in evaluation.lines():
            self._reporter.info(line)
        self._reporter.info(f"report: {run.report}")

    def _check_same(self, items: Items) -> None:
        """Raises an error if processes that train together have other recipes or data."""
        recipe = self.recipe
        check_same(
            lambda: {
                "recipe": "".join([recipe.to_toml(), *(sha256(path) for path in recipe.parts)]),
                "list of images": "\n".join(map(str, [*items.ids, *items.labels, *items.splits])),
                "set of packages": str(installed_versions(*_PACKAGES)),
            }
        )

    def _refit(
        self,
        recipe: Recipe,
        folder: RunFolder,
        items: Items,
        choice: ChosenTraining,
        features: Path,
    ):
        """Returns an encoder that is trained as chosen, on the validation images, too."""
        import keras

        keras.utils.set_random_seed(recipe.training.seed)  # the same in a resumed process
        splits = np.where(items.splits == "val", "train", items.splits)
        items = dataclasses.replace(items, splits=splits)
        classes = number_of(len(items.select("train").label_names), "class")
        self._reporter.info(f"training again as chosen ({choice}), on all {classes}")
        prepared = self._build(recipe, items.select("train"))
        learner, steps, stages = prepared.take(), prepared.steps, folder.refit
        training = StagedTraining(
            recipe, folder, items, learner, steps, self._reporter, features, stages
        )
        training.refit(choice)
        return learner.encoder

    def _write_encoder(self, folder: RunFolder, encoder):
        """Writes the encoder of the result."""
        from dml.backbones import merge_lora

        merge_lora(encoder)
        with atomic_path(folder.encoder) as path:
            encoder.save(path)
        folder.record(folder.encoder)


@contextlib.contextmanager
def _to_resume(path: str | os.PathLike[str]) -> Iterator[RunFolder]:
    """Locks the folder of a run and yields it; in other processes than the first, a copy of it."""
    folder = RunFolder(path)

    def lock():
        folder.check_begun()
        stack.enter_context(folder.writing())

    with contextlib.ExitStack() as stack:
        from_first(lock)
        left_out = {".lock", "evaluation", "tensorboard", "wandb", "bundle", "index"}
        own = RunFolder(send_folder(folder.path, left_out))
        if own.path != folder.path:
            stack.enter_context(own.writing())
        yield own


def _check_features(features: Path | None) -> None:
    """Raises an error for features that several processes would share."""
    if features is not None and process_count() > 1:
        raise OptionError("features", "can't be shared by several processes: leave it out")


@dataclass
class _Prepared:
    """A learner that is ready to be trained.

    Args:
        recipe: The recipe, with batches that the images fill.
        learner: A compiled `dml.Learner`; None once it was taken.
        parameters: The parameters of its encoder.
        steps: Batches per epoch.
    """

    recipe: Recipe
    learner: "Learner | None"
    parameters: Parameters
    steps: int

    def take(self) -> "Learner":
        """Returns the learner, and keeps it no longer."""
        learner, self.learner = self.learner, None
        assert learner is not None
        return learner


def _versions(seed: int) -> dict:
    """Returns the versions and settings, other than the recipe, that a run's metrics depend on."""
    import keras

    return {
        "backend": keras.backend.backend(),
        "python": platform.python_version(),
        "packages": installed_versions(*_PACKAGES),
        "processors": os.cpu_count(),
        "devices": devices_in_use(),
        "seed": seed,
    }
