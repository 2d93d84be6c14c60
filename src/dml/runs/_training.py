"""The stages of a training: frozen network, head, fine-tuning, and the choice among them."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from dml._processes import from_first, process_index
from dml._storage.records import text_sha256
from dml._storage.run_folder import RunFolder, StageFolder, StagesFolder
from dml._text import number_of
from dml.datasets import Items, RecordedItems
from dml.encoding import embed_images
from dml.errors import DmlError
from dml.recipe import Recipe
from dml.reporting import Reporter
from dml.runs._baseline import SHAPE, Baseline
from dml.runs._fitting import Stage, fit
from dml.runs._learners import (
    head_learner,
    head_variables,
    image_batches,
    image_learner,
    second_recipe,
)
from dml.runs._measuring import embed, measure
from dml.runs._selection import (
    MIDDLE,
    SHARES,
    Candidate,
    Choice,
    Scores,
    assign,
    interpolated,
    most_accurate,
    simplest_within_error,
)
from dml.runs._splits import TestSplit, dataset_label
from dml.runs._starting import (
    has_head_stage,
    may_have_second_stage,
    starts_from_components,
    whole_stage,
)
from dml.runs._targets import batch_targets
from dml.runs._times import StageTimes
from dml.runs._trackers import TRACKERS
from dml.runs._validation import ListedCandidate, is_measured

if TYPE_CHECKING:
    from dml.training import FeatureCache, Learner
    from dml.training._callbacks import TrainingState
    from dml.training._statistics import StatisticsEstimator

MOST_COMPONENT_IMAGES = 20_000  # whose features determine the principal components
MOST_STATISTICS_IMAGES = 2_048  # from which statistics of batch normalisation are estimated


class Training:
    """Trains a learner as a recipe says, in the folder of a run; goes on where it was stopped.

    Args:
        recipe: The recipe.
        folder: Of the run, which the caller has locked.
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
        self._recipe = recipe
        self._kept_features = features
        self._folder = folder
        self._stages = stages or folder
        self._times = times or StageTimes()
        self._items = items
        self._training_items = items.select("train")
        validation = items.select("val")
        self._validation = validation if is_measured(validation) else None
        self._left_out = validation.left_out_keys(recipe.evaluation.exclude)
        self._learner = learner
        self._encoder = learner.encoder
        self._steps = steps
        self._reporter = reporter
        self._estimators: dict[int, StatisticsEstimator] = {}  # one for each encoder, compiled once

    def measure_frozen(self, test: bool) -> None:
        """Measures the frozen network, unless the run has its metrics already.

        Call it before `fit`, which changes the weights.

        Args:
            test: Whether to measure the test split.
        """
        try:
            known = Baseline.from_json(self._folder.read_json(self._folder.frozen, SHAPE))
        except DmlError:  # never written, or damaged: it can be measured again
            known = None
        if known is not None and (known.metrics or not test):
            return
        score, metrics = None, {}
        if self._validation is not None:
            score = self._recall(self._validation_features)
        if test:
            options = self._recipe.evaluation
            name = dataset_label(self._recipe.dataset)
            split = TestSplit.of(self._items, name, options.exclude)
            title = "frozen network on the test images"
            vectors = self._embed(self._features, split.items.paths, title)
            ks = options.ks or self._recipe.dataset.recall_ks
            metrics = from_first(
                lambda: (
                    measure(
                        split, vectors, ks, options.extra_metrics, reporter=self._reporter
                    ).metrics
                )
            )
        baseline = Baseline(self._features.output_shape[-1], score, metrics)
        self._folder.write_json(self._folder.frozen, baseline.to_json())

    def fit(self) -> Choice:
        """Trains; the encoder then has the weights of the result.

        Returns:
            What the validation chose.
        """
        options = self._recipe.training
        head = self._head_stage() if self._has_head_stage else None
        fine_tuning = self._fine_tuning(self._stages, self._recipe, self._learner)
        if not fine_tuning.has_begun:
            with self._times.of("embedding" if head is None else "head stage"):
                self._start(head)
        choice = Choice("head", head_epochs=self._repeated(head, chooses=False) if head else 0)
        if options.stage == "head":
            return choice
        chooses = options.interpolate == "validation" or options.stage == "adapt"
        with self._times.of(whole_stage(self._recipe)):
            best = self._fit_whole(fine_tuning, chooses)
        choice = replace(choice, name="fine-tuned", epochs=self._repeated(fine_tuning, chooses))
        if chooses:
            with self._times.of("choice"):
                return self._select(head, fine_tuning, choice)
        self._report_start(best)
        return choice

    def refit(self, choice: Choice) -> None:
        """Trains without validation, as a training with validation chose.

        Args:
            choice: As `fit` returned it.
        """
        head = self._head_stage(choice.head_epochs) if choice.head_epochs else None
        epochs = choice.epochs
        fine_tuning = self._fine_tuning(self._stages, self._recipe, self._learner, epochs)
        if not fine_tuning.has_begun:
            self._start(head)
        if choice.name not in ("fine-tuned", "second") or not epochs:
            return
        self._fit_whole(fine_tuning, chooses=True)
        before, after = self._ends(fine_tuning)
        values = self._between(fine_tuning, before, after, choice.first_share)
        if choice.name == "second":
            second = self._second_stage(values, choice.second_epochs)
            self._fit_whole(second, chooses=True)
            _, after = self._ends(second)
            values = self._between(second, self._comparable(before, after), after, choice.share)
        assign(self._encoder.variables, values)

    def _start(self, head: Stage | None) -> None:
        """Initialises the embedding and trains the head stage, if there is one."""
        if head is None or not head.has_begun:
            self._initialise_embedding()
        if head is not None:
            self._fit_head(head)

    def _repeated(self, stage: Stage, chooses: bool) -> int:
        """Returns the whole epochs of a finished stage after which its weights were kept.

        Args:
            stage: The stage.
            chooses: As for `_fit_whole`.
        """
        from dml.training._callbacks import Checkpoint

        state = Checkpoint(stage.folder).state()
        best = self._best_epoch(state)
        if best is None or (best == 0 and chooses):
            best = state.epoch  # fewer than planned if the training stopped early
        return max(1, round(best)) if best else 0

    def _best_epoch(self, state: "TrainingState") -> float | None:
        """Returns the epoch whose weights are kept; None for the last."""
        return state.best_epoch if self._recipe.training.select == "best" else None

    def _fit_whole(self, stage: Stage, chooses: bool) -> float | None:
        """Trains a whole encoder, restores its best epoch and returns that.

        Args:
            stage: Of fine-tuning.
            chooses: Whether weights on the way to the trained ones are candidates for the result.
        """
        state = fit(stage, self._reporter)
        stage.learner.adopt_average()
        best = self._best_epoch(state)
        # Where the start is the best, the way to the last epoch may lead past better weights.
        if best or (best == 0 and not chooses):
            self._restore(stage, best)
        return best

    def _fine_tuning(
        self, folder: StageFolder, recipe: Recipe, learner: "Learner", epochs: int | None = None
    ) -> Stage:
        """Returns a stage that trains a whole encoder from images.

        Args:
            folder: Where its log and checkpoints are written.
            recipe: With the options of this stage.
            learner: The compiled learner.
            epochs: After which it ends; None for the recipe's.
        """
        options, encoder = recipe.training, learner.encoder

        def batches(first_epoch, class_vectors):
            loss = learner.metric_loss
            return image_batches(recipe, self._training_items, loss, first_epoch, class_vectors)

        def training_vectors():
            return embed_images(  # zeros, which have no effect, for images that are left out
                encoder,
                self._training_items.paths,
                recipe.evaluation.batch_size,
                threads=options.threads,
                unreadable={} if options.unreadable == "skip" else None,
            )

        return self._stage(
            folder,
            learner,
            kept=encoder.variables,
            epochs=options.epochs if epochs is None else epochs,
            batches=batches,
            training_vectors=training_vectors,
            validation_vectors=lambda: self._validation_vectors(encoder),
            remedy=(
                f"more training.threads (now {options.threads}), a smaller backbone.resize_side "
                f"(now {recipe.backbone.resize_side}), or images stored at that size"
            ),
        )

    def _second_stage(self, start: Sequence[np.ndarray], epochs: int | None = None) -> Stage:
        """Returns the stage that fine-tunes once more, at higher rates.

        Args:
            start: Values of the encoder's variables that it starts from.
            epochs: After which it ends; None for the recipe's.
        """
        import keras

        recipe = second_recipe(self._recipe)
        keras.utils.set_random_seed(recipe.training.seed)  # the same in a resumed process
        classes = len(self._training_items.label_names)
        learner = image_learner(recipe, classes, self._steps)
        assign(learner.encoder.variables, start)
        assign(head_variables(learner), head_variables(self._learner))
        return self._fine_tuning(self._stages.second_stage, recipe, learner, epochs)

    def _head_stage(self, epochs: int | None = None) -> Stage:
        """Returns the stage that trains the embedding and the proxies on cached features.

        Args:
            epochs: After which it ends; None for the recipe's.
        """
        from dml.training import feature_batches

        recipe = self._recipe
        classes = len(self._training_items.label_names)
        learner = head_learner(recipe, self._encoder, classes, self._steps)

        def batches(first_epoch, class_vectors):
            return feature_batches(
                self._cache,
                self._training_items,
                recipe.sampler,
                seed=recipe.training.seed,
                first_epoch=first_epoch,
                class_vectors=class_vectors,
                samples=bool(recipe.memory.size),
                targets=batch_targets(self._training_items, learner.metric_loss),
                plain=True,
            )

        def embed(features):
            return learner.embed(features, batch_size=1024)

        return self._stage(
            self._stages.head_stage,
            learner,
            kept=[*learner.encoder.variables, *head_variables(learner)],
            epochs=recipe.head_stage.epochs if epochs is None else epochs,
            batches=batches,
            training_vectors=lambda: embed(self._cache.plain),
            validation_vectors=lambda: embed(self._validation_features),
        )

    def _stage(
        self,
        folder,
        learner,
        kept,
        epochs: int,
        batches,
        training_vectors: Callable[[], np.ndarray],
        validation_vectors: Callable[[], np.ndarray],
        remedy: str = "",
    ) -> Stage:
        """Returns a stage with what all stages share.

        Args:
            folder: As for `Stage`, like the next four.
            learner: The learner.
            kept: The variables of the best epoch.
            epochs: Number of epochs.
            batches: Returns batches.
            training_vectors: Returns the embeddings (N, D) of the training images.
            validation_vectors: Returns the embeddings (N, D) of the validation images.
            remedy: As for `Stage`.
        """
        recipe, validate = self._recipe, None
        if self._validation is not None:

            def validate():
                return self._recall(validation_vectors())

        reads_classes = "class_vectors" in recipe.sampler.wants
        return Stage(
            folder=folder,
            learner=learner,
            kept=kept,
            epochs=epochs,
            steps=self._steps,
            batch_size=recipe.sampler.batch_size,
            labels=self._training_items.labels,
            batches=batches,
            sampler=recipe.names["sampler"],
            class_vectors=(
                (lambda: self._class_vectors(learner, training_vectors)) if reads_classes else None
            ),
            validate=validate,
            validate_every=recipe.training.validate_every,
            patience=recipe.training.patience,
            tensorboard=self._folder.tensorboard / folder.path.relative_to(self._folder.path),
            remedy=remedy,
            trackers=[
                TRACKERS[name](
                    folder.path, self._folder.path.name, recipe.to_toml(), self._reporter
                )
                for name in (recipe.training.trackers if process_index() == 0 else ())
            ],
        )

    def _class_vectors(self, learner, training_vectors) -> np.ndarray:
        """Returns the position of each class, (classes, D): the mean of its proxies or images."""
        import keras

        from dml._devices import whole
        from dml.heads import ProxyHead
        from dml.ops import unit_length

        if isinstance(learner.head, ProxyHead):
            proxies = whole(keras.ops.convert_to_tensor(learner.head.all_proxies()))
            proxies = unit_length(keras.ops.convert_to_tensor(proxies))
            return from_first(lambda: keras.ops.convert_to_numpy(proxies).mean(axis=1))
        vectors, items = training_vectors(), self._training_items
        sums = np.zeros((len(items.class_names), vectors.shape[1]))
        np.add.at(sums, items.labels, vectors)
        return from_first(lambda: sums)

    def _initialise_embedding(self) -> None:
        """Sets the embedding layer to the features' principal components, if the recipe does."""
        from dml.encoding._pca import set_principal_components

        if not starts_from_components(self._recipe):
            return
        paths = self._training_items.paths
        rows = np.arange(len(paths))
        if len(paths) > MOST_COMPONENT_IMAGES:
            rng = np.random.default_rng(self._recipe.training.seed)
            rows = np.sort(rng.permutation(len(paths))[:MOST_COMPONENT_IMAGES])
        if self._has_head_stage:
            features = self._cache.plain[rows].astype("float32")
        else:
            features = self._embed(self._features, paths[rows], "principal components")
        set_principal_components(self._encoder, features, self._recipe.embedding.pca_whiten)

    def _fit_head(self, stage: Stage) -> None:
        """Trains the head on cached features; the learner then starts from the best epoch."""
        options = self._recipe.head_stage
        views = f" and {number_of(options.views, 'view')} of each" if options.views else ""
        epochs = number_of(stage.epochs, "epoch")
        self._reporter.info(f"head stage: {epochs} on cached features of the images{views}")
        state = fit(stage, self._reporter)
        if self._recipe.training.select == "best" and state.best_epoch is not None:
            self._restore(stage, state.best_epoch)
        pairs = zip(head_variables(self._learner), head_variables(stage.learner), strict=True)
        for variable, trained in pairs:
            variable.assign(trained)
        if self._recipe.training.stage == "head":
            self._report_start(state.best_epoch)

    def _restore(self, stage: Stage, epoch: float) -> None:
        """Restores what a stage kept of an epoch."""
        from dml.training._callbacks import Checkpoint

        Checkpoint(stage.folder).load_best(stage.kept, epoch)

    def _report_start(self, best_epoch: float | None, within_error: bool = False) -> None:
        """Reports a training in which no epoch was better than the start.

        Args:
            best_epoch: The best; 0 is the start.
            within_error: Whether another was better, but by no more than its standard error.
        """
        if best_epoch == 0:
            adapts = self._recipe.training.stage == "adapt"
            stage = "" if adapts else "training.stage = 'adapt', "
            found = (
                "no encoder was better in validation by more than a standard error than the one"
                if within_error
                else "no epoch was better in validation than the encoder"
            )
            self._reporter.warning(
                f"{found} before the training, which is the result. Try a smaller "
                f"optimizer.learning_rate, {stage}a larger backbone or more images"
            )

    def _select(self, head: Stage | None, fine_tuning: Stage, choice: Choice) -> Choice:
        """Chooses among the stages and between their weights, on the validation split.

        Args:
            head: The head stage, if there was one.
            fine_tuning: The first fine-tuning.
            choice: The epochs of both.
        """
        before, after = self._ends(fine_tuning)
        if self._validation is None:
            self._reporter.info(
                "no validation split to choose by: the result is half-way between the weights "
                "before and after fine-tuning"
            )
            assign(self._encoder.variables, self._between(fine_tuning, before, after, MIDDLE))
            return replace(choice, share=MIDDLE, first_share=MIDDLE)
        adapts = self._recipe.training.stage == "adapt"
        simpler = self._simpler(head, before) if adapts else []
        path = self._path("fine-tuned", fine_tuning, before, after, with_start=not adapts)
        listed = [*simpler, *path]
        contenders = [*simpler, most_accurate(path)]
        chosen = first = simplest_within_error(contenders)
        if may_have_second_stage(self._recipe) and first.name == "fine-tuned":
            second = self._second_stage(first.values)
            path = self._second_path(second, before)
            choice = replace(choice, second_epochs=self._repeated(second, chooses=True))
            chosen = simplest_within_error([*contenders, most_accurate(path)])
            listed += path
        assign(self._encoder.variables, chosen.values)
        self._report(chosen, listed)
        if chosen.name == "frozen":
            choice = replace(choice, head_epochs=0)
        if chosen.name == "frozen" or chosen.share == 0:
            self._report_start(0, max(one.scores.recall for one in listed) > chosen.scores.recall)
        share, first_share = chosen.share or 0.0, first.share or 0.0
        return replace(choice, name=chosen.name, share=share, first_share=first_share)

    def _ends(self, stage: Stage) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Returns the values of the encoder's variables before and after a fine-tuning."""
        from dml.training._callbacks import Checkpoint, to_numpy

        after = [to_numpy(variable) for variable in stage.kept]
        return self._comparable(Checkpoint(stage.folder).read_start(stage.kept), after), after

    def _comparable(self, before, after) -> list[np.ndarray]:
        """Returns the values of an encoder that can be interpolated with those of another.

        They differ for LoRA: the other factor starts at 0, so that between the ends the merged
        kernel is linear in it alone where both ends share this one.
        """
        shared = [v.path.endswith("lora_kernel_a") for v in self._encoder.variables]
        return [a if keep else b for keep, a, b in zip(shared, after, before, strict=True)]

    def _simpler(self, head: Stage | None, before) -> list[Candidate]:
        """Returns the candidates without fine-tuning, the simplest first.

        Args:
            head: The head stage, if there was one.
            before: Values of the encoder's variables before fine-tuning.
        """
        from dml.training._callbacks import Checkpoint

        if head is None:
            return [self._candidate("frozen", None, before)]
        start = Checkpoint(head.folder).read_start(head.kept)
        values_of = dict(zip(map(id, head.kept), start, strict=True))
        variables = self._encoder.variables
        frozen = [values_of.get(id(v), b) for v, b in zip(variables, before, strict=True)]
        return [self._candidate("frozen", None, frozen), self._candidate("head", None, before)]

    def _path(
        self, name: str, stage: Stage, before, after, with_start: bool = False
    ) -> list[Candidate]:
        """Returns the candidates between the weights before and after a fine-tuning."""
        shares = (0.0, *SHARES) if with_start else SHARES
        return [
            self._candidate(name, share, self._between(stage, before, after, share))
            for share in shares
        ]

    def _second_path(self, second: Stage, before) -> list[Candidate]:
        """Fine-tunes once more and returns the candidates between the start and its weights.

        Args:
            second: The stage.
            before: Values of the encoder's variables before all fine-tuning.
        """
        rate = self._recipe.second_stage.learning_rate
        self._reporter.info(
            "fine-tuning helps: second stage, "
            f"{number_of(second.epochs, 'epoch')} at a learning rate of {rate:g}"
        )
        with self._times.of("second stage"):
            self._fit_whole(second, chooses=True)
        _, after = self._ends(second)
        return self._path("second", second, self._comparable(before, after), after)

    def _between(self, stage: Stage, before, after, share: float) -> list[np.ndarray]:
        """Returns the values of the encoder's variables between those before and after fine-tuning.

        Statistics of batch normalisation are estimated for them, if the recipe says so and the
        stage has changed any.
        """
        values = interpolated(before, after, share)
        if self._recipe.training.interpolate_batch_norm != "estimate" or share in (0.0, 1.0):
            return values
        from dml.training._callbacks import to_numpy
        from dml.training._statistics import StatisticsEstimator, plain_batches

        encoder = stage.learner.encoder
        if id(encoder) not in self._estimators:
            self._estimators[id(encoder)] = StatisticsEstimator(encoder)
        estimator = self._estimators[id(encoder)]
        if not estimator.layers:
            return values
        recipe, paths = self._recipe, self._training_items.paths
        drawn = np.random.default_rng(recipe.training.seed).permutation(len(paths))
        batches = plain_batches(
            encoder,
            paths[drawn[:MOST_STATISTICS_IMAGES]],
            recipe.sampler.batch_size,
            recipe.training.threads,
            skip=recipe.training.unreadable == "skip",
        )
        assign(encoder.variables, values)
        estimator.estimate(batches)
        return [to_numpy(variable) for variable in encoder.variables]

    def _candidate(self, name: str, share: float | None, values) -> Candidate:
        """Returns a candidate with its scores on the validation split."""
        assign(self._encoder.variables, values)
        return Candidate(name, share, values, self._scores(self._validation_vectors(self._encoder)))

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

    def _recall(self, vectors: np.ndarray) -> float:
        """Returns R@1 of the vectors (N, D) of the validation images."""
        return self._scores(vectors).recall

    def _scores(self, vectors: np.ndarray) -> Scores:
        """Returns the scores of the vectors (N, D), of any length, of the validation images."""
        assert self._validation is not None
        return Scores.of(vectors, self._validation.search_labels, self._left_out)

    def _validation_vectors(self, encoder) -> np.ndarray:
        """Returns an encoder's embeddings (N, D) of the validation images."""
        assert self._validation is not None
        return self._embed(encoder, self._validation.paths, "validating")

    @property
    def _has_head_stage(self) -> bool:
        return has_head_stage(self._recipe)

    @cached_property
    def _cache(self) -> "FeatureCache":
        """The features of the training images, computed before the weights change."""
        from dml.training import FeatureCache

        recipe, kind = self._recipe, "train" if self._stages is self._folder else "refit"
        # One for each kind of views: runs that share the folder may differ in their augmentation.
        views = [repr(recipe.augmentation), recipe.head_stage.views, recipe.training.seed]
        views = views if recipe.head_stage.views else []  # of the images as they are, one for all
        with self._times.of("features"):
            return FeatureCache(
                self._kept_features / f"{kind}-{text_sha256(views)[:8]}",
                self._encoder,
                self._training_items.paths,
                recipe.augmentation,
                views=recipe.head_stage.views,
                seed=recipe.training.seed,
                batch_size=recipe.evaluation.batch_size,
                threads=recipe.training.threads,
                digests=self._digests(self._training_items),
                reporter=self._reporter,
            )

    @cached_property
    def _validation_features(self) -> np.ndarray:
        """The frozen network's features (N, C) of the validation images."""
        validation = self._validation
        assert validation is not None
        if not self._has_head_stage:
            return self._embed(self._features, validation.paths, "frozen network")
        from dml.training import FeatureCache

        return FeatureCache(
            self._kept_features / "val",
            self._encoder,
            validation.paths,
            views=0,
            dtype="float32",
            batch_size=self._recipe.evaluation.batch_size,
            threads=self._recipe.training.threads,
            digests=self._digests(validation),
            reporter=self._reporter,
        ).plain

    def _digests(self, items: Items) -> list[str]:
        """Returns the SHA-256 of each image, which the run has recorded."""
        return [self._known_digests[name] for name in items.ids]

    @cached_property
    def _known_digests(self) -> dict[str, str]:
        recorded = RecordedItems.read(self._folder.checked(self._folder.items))
        return dict(zip(recorded.items.ids, recorded.digests, strict=True))

    @cached_property
    def _features(self):
        """The model from images to pooled features, with the current weights."""
        from dml.encoding._stages import feature_encoder

        return feature_encoder(self._encoder)

    def _embed(self, encoder, paths, title: str) -> np.ndarray:
        """Returns the vectors (N, D) of images."""
        evaluation, threads = self._recipe.evaluation, self._recipe.training.threads
        return embed(encoder, paths, evaluation.batch_size, threads, title, self._reporter)
