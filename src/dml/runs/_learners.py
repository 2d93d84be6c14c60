"""The learners and batches of a recipe's stages."""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dml.datasets import Items
from dml.recipe import Recipe, training_loss
from dml.runs._targets import batch_targets

if TYPE_CHECKING:
    from dml.losses import MetricLoss
    from dml.training import Learner, TrainingBatches


def image_batches(
    recipe: Recipe,
    items: Items,
    loss: "MetricLoss",
    first_epoch: int = 0,
    class_vectors: np.ndarray | None = None,
) -> "TrainingBatches":
    """Returns the batches of images that a recipe trains on.

    Args:
        recipe: The recipe.
        items: Of the training split.
        loss: The training loss.
        first_epoch: Epoch of the first batch, from 0.
        class_vectors: The position of each class, floats (classes, D), for samplers that need it.
    """
    from dml.training import training_batches

    options = recipe.training
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
        targets=batch_targets(items, loss),
    )


def image_learner(recipe: Recipe, classes: int, steps: int) -> "Learner":
    """Returns the compiled learner of a recipe, with a new encoder.

    Args:
        recipe: The recipe.
        classes: Number of training classes.
        steps: Batches per epoch.
    """
    from dml.encoding import build_encoder
    from dml.training import Learner, build_optimizer

    training = recipe.training
    learner = Learner(
        build_encoder(recipe.backbone, recipe.embedding),
        training_loss(recipe),
        classes=classes,
        augmentation=recipe.augmentation.layers(),
        regularizer=recipe.regularizer,
        chunks=training.chunks,
        train_blocks=training.train_blocks,
        sample=recipe.head.sample,
        correct_bias=recipe.head.correct_bias,
        average_decay=training.average_decay if training.average == "ema" else 0.0,
    )
    optimizer = build_optimizer(
        learner,
        recipe.optimizer,
        steps_per_epoch=steps,
        epochs=training.epochs,
        freeze_backbone_epochs=training.freeze_backbone_epochs,
    )
    learner.compile(optimizer)
    return learner


def second_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe of a second fine-tuning."""
    options, training = recipe.second_stage, recipe.training
    return replace(
        recipe,
        backbone=replace(recipe.backbone, batch_norm=options.batch_norm),
        optimizer=replace(
            recipe.optimizer,
            learning_rate=options.learning_rate,
            head_learning_rate=options.head_learning_rate,
        ),
        training=replace(training, epochs=options.epochs, freeze_backbone_epochs=0),
    )


def head_learner(recipe: Recipe, encoder: Any, classes: int, steps: int) -> "Learner":
    """Returns the compiled learner of a head stage, which shares the layers of an encoder.

    Args:
        recipe: The recipe.
        encoder: A model of `dml.build_encoder`.
        classes: Number of training classes.
        steps: Batches per epoch.
    """
    from dml.encoding import head_of
    from dml.training import Learner, build_optimizer

    options = recipe.head_stage
    learner = Learner(
        head_of(encoder),
        training_loss(recipe),
        classes,
        regularizer=recipe.regularizer,
        sample=recipe.head.sample,
        correct_bias=recipe.head.correct_bias,
    )
    optimizer = replace(
        recipe.optimizer,
        learning_rate=options.learning_rate,
        head_learning_rate=options.head_learning_rate,
    )
    learner.compile(build_optimizer(learner, optimizer, steps, options.epochs))
    return learner


def head_variables(learner) -> list[Any]:
    """Returns the variables of a learner's heads: proxies, memories."""
    heads = (learner.head, learner.regularizer_head)
    return [variable for head in heads if head is not None for variable in head.variables]
