"""The learners and batches of a recipe's stages."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from dml._processes import process_count
from dml.datasets import Items
from dml.errors import OptionError
from dml.recipe import Recipe, training_loss
from dml.runs._targets import batch_targets

if TYPE_CHECKING:
    from dml.losses import MetricLoss
    from dml.training import Learner, TrainingBatches


# The sections of the options that a learner takes by the same name.
_SECTIONS = {
    **dict.fromkeys(("sample", "correct_bias", "storage"), "head"),
    **dict.fromkeys(("chunks", "train_blocks", "average_decay"), "training"),
}


@contextlib.contextmanager
def _of_recipe() -> Iterator[None]:
    """Names the recipe's option in an error about a learner's."""
    try:
        yield
    except OptionError as error:
        if error.option not in _SECTIONS:
            raise
        raise OptionError(f"{_SECTIONS[error.option]}.{error.option}", error.text) from None


def with_smaller_batches(recipe: Recipe, images: int) -> Recipe:
    """Returns a recipe with two batches in an epoch where a single one would not be filled.

    Batches that devices or chunks divide stay as they are, and so do those of whole classes.

    Args:
        recipe: The recipe.
        images: The number of images of the training split.
    """
    training, sampler = recipe.training, recipe.sampler
    of_images = recipe.names["sampler"] in ("shuffle", "weighted")
    divided = training.devices != 1 or training.chunks > 1
    if sampler.batch_size <= images or not of_images or divided:
        return recipe
    smaller = replace(sampler, batch_size=max(images // 2, 1))
    return replace(recipe, sampler=smaller)


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
        items: The items of the training split.
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
        # Several processes would not know which images the others replace.
        on_unreadable=options.unreadable if process_count() == 1 else "error",
        threads=options.threads,
        samples=bool(recipe.memory.size),
        class_vectors=class_vectors,
        targets=batch_targets(items, loss),
    )


@_of_recipe()
def image_learner(recipe: Recipe, classes: int, steps: int) -> "Learner":
    """Returns the compiled learner of a recipe, with a new encoder.

    Args:
        recipe: The recipe.
        classes: Number of training classes.
        steps: Batches per epoch.
    """
    from dml.encoding import build_encoder
    from dml.training import build_optimizer

    training = recipe.training
    learner = _learner(
        recipe,
        build_encoder(recipe.backbone, recipe.embedding),
        classes,
        augmentation=recipe.augmentation.layers(),
        chunks=training.chunks,
        train_blocks=training.train_blocks,
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


def frozen_network(recipe: Recipe) -> Any:
    """Returns the network that a training of a recipe begins with, from images to pooled features.

    Raises:
        DmlError: Its weights can't be read or fetched.
    """
    import keras

    from dml.encoding import build_encoder
    from dml.encoding._stages import feature_encoder

    if not recipe.backbone.is_pretrained:
        keras.utils.set_random_seed(recipe.training.seed)  # as the training did
    with precision(recipe.training.precision):
        return feature_encoder(build_encoder(recipe.backbone, recipe.embedding))


@contextlib.contextmanager
def precision(policy: str) -> Iterator[None]:
    """Sets Keras' type policy, which belongs to the whole process, and restores it."""
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(policy)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)


def second_recipe(recipe: Recipe) -> Recipe:
    """Returns the recipe of a second fine-tuning."""
    options, training, backbone = recipe.second_stage, recipe.training, recipe.backbone
    if backbone.batch_norm != "fixed":
        backbone = replace(backbone, batch_norm=options.batch_norm)
    return replace(
        recipe,
        backbone=backbone,
        optimizer=replace(
            recipe.optimizer,
            learning_rate=options.learning_rate,
            head_learning_rate=options.head_learning_rate,
        ),
        training=replace(training, epochs=options.epochs, freeze_backbone_epochs=0),
    )


@_of_recipe()
def head_learner(recipe: Recipe, encoder: Any, classes: int, steps: int) -> "Learner":
    """Returns the compiled learner of a head stage, which shares the layers of an encoder.

    Args:
        recipe: The recipe.
        encoder: A model of `dml.build_encoder`.
        classes: Number of training classes.
        steps: Batches per epoch.
    """
    from dml.encoding import head_of
    from dml.training import build_optimizer

    options = recipe.head_stage
    learner = _learner(recipe, head_of(encoder), classes)
    optimizer = replace(
        recipe.optimizer,
        learning_rate=options.learning_rate,
        head_learning_rate=options.head_learning_rate,
    )
    learner.compile(build_optimizer(learner, optimizer, steps, options.epochs))
    return learner


def _learner(recipe: Recipe, encoder: Any, classes: int, **options: Any) -> "Learner":
    """Returns a learner with what those of all stages share.

    Args:
        recipe: The recipe.
        encoder: From images or features to embeddings.
        classes: Number of training classes.
        **options: Further arguments.
    """
    from dml.training import Learner

    loss, head = training_loss(recipe), recipe.head
    options |= {"sample": head.sample, "correct_bias": head.correct_bias, "storage": head.storage}
    return Learner(encoder, loss, classes, regularizer=recipe.regularizer, **options)


def head_variables(learner) -> list[Any]:
    """Returns the variables of a learner's heads: proxies, memories."""
    heads = (learner.head, learner.regularizer_head)
    return [variable for head in heads if head is not None for variable in head.variables]
