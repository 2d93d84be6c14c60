"""Tuning: trains a recipe with different options, and keeps what is best in validation."""

import importlib.util
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dml._options import check_at_least
from dml._processes import check_alone
from dml._storage.atomic import write_text
from dml._storage.run_folder import RunFolder
from dml._storage.study_folder import StudyFolder, StudyManifest
from dml.datasets import Items, RecordedItems
from dml.datasets._recorded import SEEN
from dml.errors import DataError, OptionError, PackageError
from dml.recipe import Recipe, load_recipe, read_source
from dml.reporting import SILENT, Reporter
from dml.runs import Run, Trainer
from dml.runs._aspect import with_best_aspect
from dml.runs._baseline import Baseline
from dml.runs._folders import free_folder
from dml.runs._selection import Scores
from dml.runs._splits import dataset_label, unchanged_items
from dml.runs._validation import is_measured
from dml.runs._validator import Validator
from dml.tuning._comparing import best_trial, gain_of, interval_of
from dml.tuning._confirming import confirm, repetitions
from dml.tuning._limits import Limits
from dml.tuning._phases import Phase, phases_of, spaces_of
from dml.tuning._space import SearchSpace, varied
from dml.tuning._training import train
from dml.tuning._trials import HEAD, Trial, best_of, tab_separated, trial_line
from dml.tuning.study import Study

if TYPE_CHECKING:
    import keras

    from dml.tuning._store import TrialStore


class Tuner:
    """Trains a recipe with different options, and keeps what is best on the validation classes.

    With pretrained weights, the first half of the trials only trains the head stage, on features
    that are computed once; the other half trains as the recipe does. Both halves begin with the
    recipe's own options, and the second one goes on with the best of the first; then options are
    drawn at random, and later where they were best (TPE). Trials whose validation curve is below
    the median of the others are stopped. The test split is not read. A study can be continued, and
    several processes can work on it at once.

    Args:
        recipe: As `dml.load_recipe` returns it. Its `training.seed` is the seed of the trials and
            of what they draw.
        space: What is searched; by default `dml.tuning.SearchSpace.of(recipe)`.
        head_space: What the trials of the head stage search; None for no such trials, unless
            `space` is None, too.
        reporter: Receives lines of text and the progress of long work.

    Raises:
        OptionError: The recipe has no options to search.
        PackageError: Optuna is not installed.

    Example:
        >>> recipe = dml.load_recipe("glyphs")
        >>> study = dml.Tuner(recipe).run("tune/mine", trials=20)  # doctest: +SKIP
        >>> best = dml.load_recipe(study.recipe)  # doctest: +SKIP
    """

    def __init__(
        self,
        recipe: Recipe,
        space: SearchSpace | None = None,
        head_space: SearchSpace | None = None,
        reporter: Reporter = SILENT,
    ):
        if not isinstance(recipe, Recipe):
            text = f"must be a Recipe, as dml.load_recipe returns it; got {recipe!r}"
            raise OptionError("recipe", text)
        if importlib.util.find_spec("optuna") is None:
            raise PackageError("tuning needs the package optuna: pip install 'dml[tune]'")
        check_alone("dml.Tuner: processes that have not joined may share its folder")
        self.recipe = recipe.with_absolute_paths()
        if space is None:
            space, head_space = spaces_of(recipe)
        self.space, self.head_space = space, head_space
        self._reporter = reporter
        for phase in self._phases():
            phase.first(())  # their options exist

    def run(
        self,
        folder: str | os.PathLike[str] | None = None,
        trials: int = 20,
        budget: float | None = None,
        name: str | None = None,
        confirm: int = 0,
    ) -> Study:
        """Runs the trials of a new study.

        Args:
            folder: The study's folder; by default `tune/NAME`, with a number if that exists.
            trials: Trials in all; positive.
            budget: Seconds after which it stops, at the end of an epoch; positive. None for no
                limit.
            name: The NAME; by default the data set's name.
            confirm: How many times the best options and the recipe's own are trained again at the
                end, with other seeds and, unless the data set lists a split `val`, with other
                validation classes or images; at least 0. The budget is for both.

        Returns:
            The `Study`: its trials, the best of them, and how certain that is.

        Raises:
            DmlError: The recipe, the data or the folder is invalid, there are no validation
                classes, or no trial was completed.
        """
        if folder is not None:
            StudyFolder(folder).check_new()
        limits = _limits(trials, budget, confirm)
        repetitions(self.recipe, confirm)  # their seeds exist
        items = self.recipe.dataset.items().select(*SEEN)
        self._check_validation(items)
        Trainer(self.recipe, self._reporter)._check(items)
        tuner, recorded = self, None
        if self.recipe.training.select_aspect:  # once for all trials
            recorded = self._read_images()
            validation = recorded.items.select("val")
            recipe = with_best_aspect(self.recipe, validation, self._reporter)
            tuner = Tuner(recipe, self.space, self.head_space, self._reporter)
        name = name or dataset_label(self.recipe.dataset)
        study = StudyFolder(free_folder(Path("tune"), name) if folder is None else folder)
        study.begin(tuner._manifest(trials))
        return tuner._run(study, *limits, confirm, recorded)

    @classmethod
    def resume(
        cls,
        folder: str | os.PathLike[str],
        trials: int | None = None,
        budget: float | None = None,
        allow_parts: bool = False,
        reporter: Reporter = SILENT,
        confirm: int = 0,
    ) -> Study:
        """Continues a study, alone or beside other processes that work on it.

        Args:
            folder: The study's.
            trials: Trials in all, with those that there are; by default as many as the study
                was started with.
            budget: As for `run`.
            allow_parts: Whether the Python files that its recipe lists under `parts` may be
                imported, which runs their code.
            reporter: Receives lines of text and the progress of long work.
            confirm: As for `run`; what was trained again already is not repeated.

        Returns:
            The `Study`, with the trials of all processes.

        Raises:
            DmlError: There is no study, its files or images were changed, or no trial was
                completed.
        """
        study = StudyFolder(folder)
        manifest = study.begun_with()
        recipe = load_recipe(study.recipe, allow_parts=allow_parts)
        if read_source(study.recipe).text != manifest.recipe:
            raise DataError(
                study.recipe, "changed since the study began: put it back, or start another study"
            )
        try:
            space, head_space = (
                None if value is None else SearchSpace.from_json(value) for value in manifest.spaces
            )
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise DataError(study.manifest, f"damaged: {error}; start another study") from None
        tuner = cls(recipe, space, head_space, reporter)
        limits = _limits(manifest.trials if trials is None else trials, budget, confirm)
        repetitions(recipe, confirm)  # their seeds exist
        return tuner._run(study, *limits, confirm)

    def _phases(self) -> list[Phase]:
        return phases_of(self.recipe, self.space, self.head_space)

    def _manifest(self, trials: int) -> StudyManifest:
        spaces = self.space, self.head_space
        values = [None if space is None else space.to_json() for space in spaces]
        return StudyManifest(self.recipe.to_toml(), values, trials)

    def _check_validation(self, items: Items) -> None:
        """Raises an error unless trials can be compared in validation."""
        if not is_measured(items.select("val")):
            raise OptionError(
                "dataset.validation_fraction",
                f"is {self.recipe.dataset.validation_fraction:g}, which leaves fewer than two "
                "validation classes of two images, and trials are compared on them: raise it, set "
                "dataset.validation to images or, if the data list a validation split, extend that",
            )

    def _run(
        self,
        folder: StudyFolder,
        limits: Limits,
        whole: Limits,
        confirm: int,
        recorded: RecordedItems | None = None,
    ) -> Study:
        """Runs trials until there are enough or the time is over, and writes the results.

        Args:
            folder: The study's.
            limits: The limits of the trials.
            whole: The limits of all work.
            confirm: As for `run`.
            recorded: The training and validation images, if a new study has read them already.
        """
        from dml.tuning._store import TrialStore  # loads Optuna

        self._reporter.info(f"study: {folder.path}")
        store = TrialStore(folder, self._phases(), self.recipe.training.seed)
        recorded = self._recorded(folder, store, recorded)
        self._reporter.info(HEAD)
        while True:
            with store.next(limits) as opened:
                if opened is None:
                    break
                run = folder.run(opened.number)
                trial = train(
                    self.recipe, opened, run, recorded, folder.features, limits, self._reporter
                )
            self._reporter.info(trial_line(trial))
            with store.alone():
                self._write(folder, store.trials())
        with store.alone():  # others remove the encoder of a trial that is the best no more
            trials = tuple(store.trials())
            best = best_trial(folder.path, trials)
            own = [t for t in trials if t.own and t.state == "complete" and not best.own]
            encoders = [self._encoder(trial) for trial in (best, *own[-1:])]
        validator = Validator(
            recorded.items.select("val"),
            self.recipe.evaluation,
            self.recipe.training.threads,
            self._reporter,
        )
        scores = [validator.scores(validator.vectors(encoder)) for encoder in encoders]
        study = _summary(folder, trials, best, *scores)
        for line in study.lines():
            self._reporter.info(line)
        if confirm:
            study = self._confirmed(study, folder, recorded, confirm, whole)
        return study

    def _read_images(self) -> RecordedItems:
        """Returns the training and validation images that can be read."""
        items = self.recipe.dataset.items().select(*SEEN)
        recorded = Trainer(self.recipe, self._reporter)._record(items)
        readable = recorded.digests != ""
        return RecordedItems(recorded.items.take(readable), recorded.digests[readable])

    def _recorded(
        self, folder: StudyFolder, store: "TrialStore", known: RecordedItems | None
    ) -> RecordedItems:
        """Returns the training and validation images of the study, which stay the same.

        Args:
            folder: The study's.
            store: Its trials, which other processes take while this one compares the images.
            known: The images, if a new study has read them already.

        Raises:
            DataError: One is missing or was changed.
        """
        with store.alone():
            if not folder.items.exists():
                recorded = self._read_images() if known is None else known
                recorded.write(folder.items)
                return recorded
        recorded = RecordedItems.read(folder.items)
        items, changes = unchanged_items(
            recorded, self.recipe.dataset, SEEN, self.recipe.training.threads, self._reporter
        )
        if len(items) < len(recorded.items):
            lost = [*changes.missing.ids, *changes.changed.ids]
            raise DataError(
                folder.path,
                f"{len(lost):,} of its images were removed or changed ({lost[0]}), so that its "
                "trials can't be compared: restore them, or start another study",
            )
        return RecordedItems(items, recorded.digests)

    def _write(self, folder: StudyFolder, trials: Sequence[Trial]) -> None:
        """Writes the table and the best recipe, and removes the encoders of other trials."""
        write_text(folder.table, tab_separated(trials))
        best = best_of(trials)
        if best is None:
            return
        for trial in trials:
            if trial.state == "complete" and not trial.own and trial is not best:
                folder.run(trial.number).encoder.unlink(missing_ok=True)
        head = f"# trial {best.number} of {folder.path}: validation R@1 {best.score}"
        write_text(folder.best, f"{head}\n{varied(self.recipe, best.options).to_toml()}")

    def _confirmed(
        self, study: Study, folder: StudyFolder, recorded: RecordedItems, count: int, limits: Limits
    ) -> Study:
        """Returns the study with what its best options reach again, and reports that."""
        best = study.best
        if varied(self.recipe, best.options).to_toml() == self.recipe.to_toml():
            self._reporter.info("the best has the recipe's own options: nothing is left to confirm")
            return study
        self._reporter.info(f"training trial {best.number} and the recipe's own options again")
        found = confirm(self.recipe, best, folder, recorded, count, limits, self._reporter)
        if found is None:
            self._reporter.warning(
                f"the time is over: `dml tune {folder.path} --resume --confirm {count}` continues"
            )
            return study
        for line in found.lines():
            self._reporter.info(line)
        return replace(study, confirmation=found)

    def _encoder(self, trial: Trial) -> "keras.Model":
        return Run(trial.run, allow_parts=True).encoder()


def _summary(
    folder: StudyFolder,
    trials: tuple[Trial, ...],
    best: Trial,
    found: Scores,
    own: Scores | None = None,
) -> Study:
    """Returns a study, with the uncertainty of its best trial.

    Args:
        folder: The study's.
        trials: All of them.
        best: The best.
        found: Its scores.
        own: Those of the recipe's own options, if there is another trial of them.
    """
    gain = None if own is None else gain_of(found, own)
    low, high = interval_of(found)
    run = RunFolder(best.run)
    frozen = Baseline.read(run).validation
    return Study(folder.path, trials, best, low, high, gain, frozen)


def _limits(trials: int, budget: float | None, confirm: int) -> tuple[Limits, Limits]:
    """Returns the limits of the trials and of all work.

    Args:
        trials: As for `Tuner.run`, like the others.
        budget: Seconds.
        confirm: Repetitions, which train two options each.
    """
    check_at_least(0, confirm=confirm)
    return Limits.shared(trials, budget, further=2 * confirm)
