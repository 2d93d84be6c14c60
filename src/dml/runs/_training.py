"""The stages of a training: frozen network, head, fine-tuning, and the choice among them."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from dml._processes import from_first
from dml._storage.run_folder import RunFolder, StagesFolder
from dml._text import number_of
from dml.datasets import Items
from dml.errors import DmlError
from dml.recipe import Recipe
from dml.reporting import Reporter
from dml.runs._baseline import Baseline
from dml.runs._features import FrozenFeatures
from dml.runs._fitting import Stage, fit
from dml.runs._interpolation import Interpolation, assign
from dml.runs._learners import head_variables
from dml.runs._measuring import measure
from dml.runs._selection import (
    MIDDLE,
    SHARES,
    Candidate,
    CandidateName,
    ChosenTraining,
    most_accurate,
    simplest_within_error,
)
from dml.runs._splits import TestSplit, dataset_label
from dml.runs._stage_plan import StageName, StagePlan
from dml.runs._stages import Stages
from dml.runs._times import StageTimes
from dml.runs._validation import ListedCandidate, is_measured
from dml.runs._validator import Validator

if TYPE_CHECKING:
    from dml.training import Learner
    from dml.training._checkpoint import TrainingState


class StagedTraining:
    """Trains a learner as a recipe says, in the folder of a run; goes on where it was stopped.

    Args:
        recipe: The recipe.
        folder: The folder of the run, which the caller has locked.
        items: All splits.
        learner: The compiled learner, whose encoder has its initial weights.
        steps: Batches per epoch of fine-tuning.
        reporter: Receives lines of text and progress.
        features: The folder for the cached features of the frozen network, for the head stage.
        stages: Where the stages write their logs and checkpoints; the run's folder if None.
        times: Receives the time of each stage; None for no record.
    """

    def __init__(
        self,
        recipe: Recipe,
        folder: RunFolder,
        items: Items,
        learner: "Learner",
        steps: int,
        reporter: Reporter,
        features: Path,
        stages: StagesFolder | None = None,
        times: StageTimes | None = None,
    ):
        times, folders = times or StageTimes(), stages or folder
        validation, training_items = items.select("val"), items.select("train")
        self._recipe = recipe
        self._plan = StagePlan.of(recipe)
        self._folder = folder
        self._times = times
        self._items = items
        self._learner = learner
        self._encoder = learner.encoder
        self._reporter = reporter
        self._validator = (
            Validator(validation, recipe.evaluation, recipe.training.threads, reporter)
            if is_measured(validation)
            else None
        )
        kind = "train" if folders is folder else "refit"
        self._features = FrozenFeatures(
            recipe, self._encoder, items, folder, features, kind, times, reporter
        )
        self._stages = Stages(
            recipe,
            learner,
            steps,
            training_items,
            self._validator,
            self._features,
            folder,
            folders,
            reporter,
        )
        self._weights = Interpolation(
            recipe.training, recipe.sampler.batch_size, self._encoder, training_items
        )

    def measure_frozen(self, test: bool) -> None:
        """Measures the frozen network, unless the run has its metrics already.

        Call it before `fit`, which changes the weights.

        Args:
            test: Whether to measure the test split.
        """
        try:
            known = Baseline.read(self._folder)
        except DmlError:  # never written, or damaged: it can be measured again
            known = None
        if known is not None and (known.metrics or not test):
            return
        score, metrics = None, {}
        if self._validator is not None:
            score = self._validator.recall(self._features.validation)
        if test:
            options = self._recipe.evaluation
            name = dataset_label(self._recipe.dataset)
            split = TestSplit.of(self._items, name, options.exclude)
            title = "frozen network on the test images"
            vectors = self._features.of(split.items, title)
            ks = options.ks_for(self._recipe.dataset)
            metrics = from_first(
                lambda: (
                    measure(
                        split, vectors, ks, options.extra_metrics, reporter=self._reporter
                    ).metrics
                )
            )
        baseline = Baseline(self._features.dimension, score, metrics)
        self._folder.write_json(self._folder.frozen, baseline.to_json())

    def fit(self) -> ChosenTraining:
        """Trains; the encoder then has the weights of the result.

        Returns:
            What the validation chose.
        """
        plan = self._plan
        head = self._stages.head() if plan.head else None
        fine_tuning = self._stages.fine_tuning()
        if not fine_tuning.has_begun:
            with self._times.of(StageName.EMBEDDING if head is None else StageName.HEAD):
                self._start(head)
        choice = ChosenTraining(CandidateName.HEAD, head_epochs=self._head_epochs(head))
        if not plan.whole:
            return choice
        with self._times.of(plan.whole_name):
            state = self._fit_whole(fine_tuning, plan.chooses)
        choice = replace(
            choice, name=CandidateName.FINE_TUNED, epochs=self._repeated(state, plan.chooses)
        )
        if plan.chooses:
            with self._times.of(StageName.CHOICE):
                return self._select(head, fine_tuning, choice)
        self._report_start(self._best_epoch(state))
        return choice

    def refit(self, choice: ChosenTraining) -> None:
        """Trains without validation, as a training with validation chose.

        Args:
            choice: As `fit` returned it.
        """
        head = self._stages.head(choice.head_epochs) if choice.head_epochs else None
        fine_tuning = self._stages.fine_tuning(choice.epochs)
        if not fine_tuning.has_begun:
            self._start(head)
        if not choice.is_fine_tuned or not choice.epochs:
            return
        self._fit_whole(fine_tuning, chooses=True)
        before, after = self._weights.ends(fine_tuning)
        values = self._weights.between(fine_tuning, before, after, choice.first_share)
        if choice.name == CandidateName.SECOND:
            second = self._stages.second(values, choice.second_epochs)
            self._fit_whole(second, chooses=True)
            _, after = self._weights.ends(second)
            before = self._weights.comparable(before, after)
            values = self._weights.between(second, before, after, choice.share)
        assign(self._encoder.variables, values)

    def _start(self, head: Stage | None) -> None:
        """Initialises the embedding and trains the head stage, if there is one."""
        if head is None or not head.has_begun:
            self._initialise_embedding()
        if head is not None:
            self._fit_head(head)

    def _head_epochs(self, head: Stage | None) -> int:
        """Returns the whole epochs of the finished head stage, as `_repeated`; 0 without one."""
        from dml.training._checkpoint import Checkpoint

        if head is None:
            return 0
        return self._repeated(Checkpoint(head.folder).state(), chooses=False)

    def _repeated(self, state: "TrainingState", chooses: bool) -> int:
        """Returns the whole epochs of a finished stage after which its weights were kept.

        Args:
            state: The state of the stage.
            chooses: As for `_fit_whole`.
        """
        best = self._best_epoch(state)
        if best is None or (best == 0 and chooses):
            best = state.epoch  # fewer than planned if the training stopped early
        return max(1, round(best)) if best else 0

    def _best_epoch(self, state: "TrainingState") -> float | None:
        """Returns the epoch whose weights are kept; None for the last."""
        return state.best_epoch if self._recipe.training.select == "best" else None

    def _fit_whole(self, stage: Stage, chooses: bool) -> "TrainingState":
        """Trains a whole encoder, restores its best epoch and returns its state.

        Args:
            stage: A stage of fine-tuning.
            chooses: Whether weights on the way to the trained ones are candidates for the result.
        """
        state = fit(stage, self._reporter)
        stage.learner.adopt_average()
        best = self._best_epoch(state)
        # Where the start is the best, the way to the last epoch may lead past better weights.
        if best or (best == 0 and not chooses):
            self._restore(stage, best)
        return state

    def _initialise_embedding(self) -> None:
        """Sets the embedding layer to the features' principal components, if the recipe does."""
        from dml.encoding._pca import set_principal_components

        if not self._plan.components:
            return
        features = self._features.for_components()
        set_principal_components(self._encoder, features, self._recipe.embedding.pca_whiten)

    def _fit_head(self, stage: Stage) -> None:
        """Trains the head on cached features; the learner then starts from the best epoch."""
        options = self._recipe.head_stage
        views = f" and {number_of(options.views, 'view')} of each" if options.views else ""
        epochs = number_of(stage.epochs, "epoch")
        self._reporter.info(f"head stage: {epochs} on cached features of the images{views}")
        state = fit(stage, self._reporter)
        if (best := self._best_epoch(state)) is not None:
            self._restore(stage, best)
        pairs = zip(head_variables(self._learner), head_variables(stage.learner), strict=True)
        for variable, trained in pairs:
            variable.assign(trained)
        if not self._plan.whole:
            self._report_start(best)

    def _restore(self, stage: Stage, epoch: float) -> None:
        """Restores what a stage kept of an epoch."""
        from dml.training._checkpoint import Checkpoint

        Checkpoint(stage.folder).load_best(stage.kept, epoch)

    def _report_start(self, best_epoch: float | None, within_error: bool = False) -> None:
        """Reports a training in which no epoch was better than the start.

        Args:
            best_epoch: The best; 0 is the start.
            within_error: Whether another was better, but by no more than its standard error.
        """
        if best_epoch == 0:
            section = "optimizer" if self._plan.whole else "head_stage"
            other = "" if self._plan.adapts else "training.stage = 'adapt', "
            found = (
                "no encoder was better in validation by more than a standard error than the one"
                if within_error
                else "no epoch was better in validation than the encoder"
            )
            self._reporter.warning(
                f"{found} before the training, which is the result. Try a smaller "
                f"{section}.learning_rate, {other}a larger backbone or more images"
            )

    def _select(
        self, head: Stage | None, fine_tuning: Stage, choice: ChosenTraining
    ) -> ChosenTraining:
        """Chooses among the stages and between their weights, on the validation split.

        Args:
            head: The head stage, if there was one.
            fine_tuning: The first fine-tuning.
            choice: The epochs of both.
        """
        before, after = self._weights.ends(fine_tuning)
        if self._validator is None:
            if not self._recipe.backbone.is_pretrained:  # the weights before are random
                return choice
            self._reporter.info(
                "no validation to choose by: the result is half-way between the weights before and "
                "after fine-tuning"
            )
            values = self._weights.between(fine_tuning, before, after, MIDDLE)
            assign(self._encoder.variables, values)
            return replace(choice, share=MIDDLE, first_share=MIDDLE)
        simpler = self._simpler(head, before) if self._plan.adapts else []
        path = self._path(
            CandidateName.FINE_TUNED, fine_tuning, before, after, with_start=not simpler
        )
        listed = [*simpler, *path]
        contenders = [*simpler, most_accurate(path)]
        chosen = first = simplest_within_error(contenders)
        if self._plan.second and first.name == CandidateName.FINE_TUNED:
            second = self._stages.second(first.values)
            path, state = self._second_path(second, before)
            choice = replace(choice, second_epochs=self._repeated(state, chooses=True))
            chosen = simplest_within_error([*contenders, most_accurate(path)])
            listed += path
        assign(self._encoder.variables, chosen.values)
        self._report(chosen, listed)
        if chosen.name == CandidateName.START:
            choice = replace(choice, head_epochs=0)
        if chosen.name == CandidateName.START or chosen.share == 0:
            self._report_start(0, max(one.scores.recall for one in listed) > chosen.scores.recall)
        share, first_share = chosen.share or 0.0, first.share or 0.0
        return replace(choice, name=chosen.name, share=share, first_share=first_share)

    def _simpler(self, head: Stage | None, before) -> list[Candidate]:
        """Returns the candidates without fine-tuning, the simplest first.

        Args:
            head: The head stage, if there was one.
            before: Values of the encoder's variables before fine-tuning.
        """
        from dml.training._checkpoint import Checkpoint

        if head is None:
            return [self._candidate(CandidateName.START, None, before)]
        start = Checkpoint(head.folder).read_start(head.kept)
        values_of = dict(zip(map(id, head.kept), start, strict=True))
        variables = self._encoder.variables
        frozen = [values_of.get(id(v), b) for v, b in zip(variables, before, strict=True)]
        return [
            self._candidate(CandidateName.START, None, frozen),
            self._candidate(CandidateName.HEAD, None, before),
        ]

    def _path(
        self, name: CandidateName, stage: Stage, before, after, with_start: bool = False
    ) -> list[Candidate]:
        """Returns the candidates between the weights before and after a fine-tuning.

        Only the most accurate one keeps its values.
        """
        found: list[Candidate] = []
        for share in (0.0, *SHARES) if with_start else SHARES:
            values = self._weights.between(stage, before, after, share)
            found.append(self._candidate(name, share, values))
            best = most_accurate(found)
            found = [one if one is best else replace(one, values=()) for one in found]
        return found

    def _second_path(self, second: Stage, before) -> "tuple[list[Candidate], TrainingState]":
        """Fine-tunes once more.

        Returns:
            The candidates between the start and its weights, and the state of the stage.

        Args:
            second: The stage.
            before: Values of the encoder's variables before all fine-tuning.
        """
        rate = self._recipe.second_stage.learning_rate
        self._reporter.info(
            "fine-tuning helps: second stage, "
            f"{number_of(second.epochs, 'epoch')} at a learning rate of {rate:g}"
        )
        with self._times.of(StageName.SECOND):
            state = self._fit_whole(second, chooses=True)
        _, after = self._weights.ends(second)
        before = self._weights.comparable(before, after)
        return self._path(CandidateName.SECOND, second, before, after), state

    def _candidate(self, name: CandidateName, share: float | None, values) -> Candidate:
        """Returns a candidate with its scores on the validation split."""
        assert self._validator is not None
        assign(self._encoder.variables, values)
        scores = self._validator.scores(self._validator.vectors(self._encoder))
        return Candidate(name, share, values, scores)

    def _report(self, chosen: Candidate, candidates: list[Candidate]) -> None:
        """Writes and reports the candidates' scores and the choice."""
        listed = [
            ListedCandidate(one.name, one.scores.recall, one is chosen, one.share)
            for one in candidates
        ]
        rows = [asdict(candidate) for candidate in listed]
        self._folder.write_json(self._folder.selection, {"candidates": rows})
        self._reporter.info("R@1 in validation of the candidates for the result:")
        for candidate in listed:
            mark = "  <- the result" if candidate.chosen else ""
            self._reporter.info(f"  {100 * candidate.validation:5.1f}  {candidate}{mark}")
