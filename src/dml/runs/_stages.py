"""Builds the stages of a training from a recipe."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dml._processes import from_first, process_index
from dml._storage.run_folder import RunFolder, StageFolder, StagesFolder
from dml._threads import reading_threads
from dml.datasets import Items
from dml.encoding import embed_images
from dml.recipe import Recipe
from dml.reporting import Reporter
from dml.runs._features import FrozenFeatures
from dml.runs._fitting import Stage
from dml.runs._interpolation import assign
from dml.runs._learners import (
    head_learner,
    head_variables,
    image_batches,
    image_learner,
    second_recipe,
)
from dml.runs._targets import batch_targets
from dml.runs._trackers import TRACKERS
from dml.runs._validator import Validator

if TYPE_CHECKING:
    from dml.training import Learner


class Stages:
    """Builds the stages of a training.

    Args:
        recipe: The recipe.
        learner: The compiled learner of the fine-tuning.
        steps: Batches per epoch.
        training_items: The training split.
        validator: Measures the validation split; None without one.
        features: The features of the frozen network, for the head stage.
        run: The folder of the run, for TensorBoard and trackers.
        folders: Where the stages write their logs and checkpoints.
        reporter: Receives lines of text and progress.
    """

    def __init__(
        self,
        recipe: Recipe,
        learner: "Learner",
        steps: int,
        training_items: Items,
        validator: Validator | None,
        features: FrozenFeatures,
        run: RunFolder,
        folders: StagesFolder,
        reporter: Reporter,
    ):
        self._recipe = recipe
        self._learner = learner
        self._steps = steps
        self._training_items = training_items
        self._validator = validator
        self._features = features
        self._run = run
        self._folders = folders
        self._reporter = reporter

    def head(self, epochs: int | None = None) -> Stage:
        """Returns the stage that trains the embedding and the proxies on cached features.

        Args:
            epochs: After which it ends; None for the recipe's.
        """
        from dml.training import feature_batches

        recipe, items, features = self._recipe, self._training_items, self._features
        classes = len(items.label_names)
        learner = head_learner(recipe, self._learner.encoder, classes, self._steps)

        def batches(first_epoch, class_vectors):
            return feature_batches(
                features.training,
                items,
                recipe.sampler,
                seed=recipe.training.seed,
                first_epoch=first_epoch,
                class_vectors=class_vectors,
                samples=bool(recipe.memory.size),
                targets=batch_targets(items, learner.metric_loss),
                plain=True,
            )

        def embed(rows):
            return learner.embed(rows, batch_size=1024)

        return self._stage(
            self._folders.head_stage,
            learner,
            kept=[*learner.encoder.variables, *head_variables(learner)],
            epochs=recipe.head_stage.epochs if epochs is None else epochs,
            batches=batches,
            training_vectors=lambda: embed(features.training.plain),
            validation_vectors=lambda: embed(features.validation),
        )

    def fine_tuning(self, epochs: int | None = None) -> Stage:
        """Returns the stage that trains the whole encoder.

        Args:
            epochs: After which it ends; None for the recipe's.
        """
        return self._whole(self._folders, self._recipe, self._learner, epochs)

    def second(self, start: Sequence[np.ndarray], epochs: int | None = None) -> Stage:
        """Returns the stage that fine-tunes once more, at higher rates, with a new encoder.

        Args:
            start: Values of the encoder's variables that it starts from.
            epochs: After which it ends; None for the recipe's.
        """
        import keras

        recipe = second_recipe(self._recipe)
        keras.utils.set_random_seed(recipe.training.seed)  # the same in a resumed process
        learner = image_learner(recipe, len(self._training_items.label_names), self._steps)
        assign(learner.encoder.variables, start)
        assign(head_variables(learner), head_variables(self._learner))
        return self._whole(self._folders.second_stage, recipe, learner, epochs)

    def _whole(
        self, folder: StageFolder, recipe: Recipe, learner: "Learner", epochs: int | None
    ) -> Stage:
        """Returns a stage that trains a whole encoder from images.

        Args:
            folder: Where its log and checkpoints are written.
            recipe: The recipe, with the options of this stage.
            learner: The compiled learner.
            epochs: After which it ends; None for the recipe's.
        """
        options, encoder, items = recipe.training, learner.encoder, self._training_items

        def batches(first_epoch, class_vectors):
            loss = learner.metric_loss
            return image_batches(recipe, items, loss, first_epoch, class_vectors)

        def training_vectors():
            return embed_images(  # zeros, which have no effect, for images that are left out
                encoder,
                items.paths,
                recipe.evaluation.batch_size,
                threads=options.threads,
                unreadable={} if options.unreadable == "skip" else None,
            )

        def validation_vectors():
            assert self._validator is not None
            return self._validator.vectors(encoder)

        return self._stage(
            folder,
            learner,
            kept=encoder.variables,
            epochs=options.epochs if epochs is None else epochs,
            batches=batches,
            training_vectors=training_vectors,
            validation_vectors=validation_vectors,
            remedy=(
                f"more training.threads (now {reading_threads(options.threads)}), a smaller "
                f"backbone.resize_side (now {recipe.backbone.resize_side}), or images stored at "
                "that size"
            ),
        )

    def _stage(
        self,
        folder: StageFolder,
        learner: "Learner",
        kept: Sequence[Any],
        epochs: int,
        batches: Callable[[int, np.ndarray | None], Any],
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
        recipe, validator, run = self._recipe, self._validator, self._run
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
            validate=(lambda: validator.recall(validation_vectors())) if validator else None,
            validate_every=recipe.training.validate_every,
            patience=recipe.training.patience,
            tensorboard=run.tensorboard / folder.path.relative_to(run.path),
            remedy=remedy,
            trackers=[
                TRACKERS[name](folder.path, run.path.name, recipe.to_toml(), self._reporter)
                for name in (recipe.training.trackers if process_index() == 0 else ())
            ],
        )

    def _class_vectors(
        self, learner: "Learner", training_vectors: Callable[[], np.ndarray]
    ) -> np.ndarray:
        """Returns a vector for each class, (classes, D): the mean of its proxies, or the sum of its
        images' vectors, of any length."""
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
