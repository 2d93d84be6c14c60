"""What is refused before a training starts."""

from typing import TYPE_CHECKING, Any

from dml.datasets import Items
from dml.errors import DataError, OptionError
from dml.recipe import Recipe
from dml.runs._splits import TestSplit, has_positives
from dml.runs._stage_plan import StagePlan

if TYPE_CHECKING:
    from dml.training import Learner


def check_splits(items: Items, name: str, with_labels: bool, exclude: str):
    """Raises an error for splits from which nothing can be learned or measured.

    Args:
        items: All splits.
        name: The data set's name, for messages.
        with_labels: Whether the training uses labels.
        exclude: As `evaluation.exclude`.

    Raises:
        DataError: The training or the test has a single class, with which every metric is 100.
        OptionError: The validation has no two images of a class, or all are left out; or there is
            nothing to exclude.
    """
    train = items.select("train")
    if not len(train):
        raise DataError(name, "there are no images to train on: all of them are in other splits")
    if len(train.label_names) == 1 and with_labels:
        raise DataError(
            name,
            f"there is only one class to train on, {train.label_names[0]}: give two or more",
        )
    if len(items.select("test", "query")):
        TestSplit.of(items, name, exclude)
    validation = items.select("val")
    if len(validation) and not has_positives(validation):
        raise OptionError(
            "dataset.validation_fraction",
            "gives a validation split without two images of a class: raise it, set it to 0 to "
            "train without validation, or set dataset.validation to images; if the data list a "
            "validation split, add images to that or remove it",
        )
    if len(validation) and not has_positives(validation, validation.left_out_keys(exclude)):
        raise OptionError(
            "evaluation.exclude",
            f"leaves no query of the validation anything to find: no class has images of two "
            f"{exclude}s there. Set it to none, or raise dataset.validation_fraction",
        )


def check_stage(recipe: Recipe):
    """Raises an error for a head stage in which nothing can be trained.

    Raises:
        OptionError: There is no embedding layer, or the loss needs two views of each image.
    """
    if StagePlan.of(recipe).whole:
        return
    if not recipe.embedding.dim:
        text = "must be positive for training.stage = 'head', which trains that layer"
        raise OptionError("embedding.dim", text)
    if recipe.training.views > 1:
        text = "must be 1 for training.stage = 'head', which trains on cached features"
        raise OptionError("training.views", text)


def check_sample(share: float, classes: int, batch_size: int):
    """Raises an OptionError for a sample of the classes that can't hold those of a batch.

    Args:
        share: `head.sample`.
        classes: The number of training classes.
        batch_size: Images in a batch, which may all be of different classes.
    """
    from dml.training._sampled import sample_size

    if share < 1 and (count := sample_size(share, classes)) < batch_size:
        raise OptionError(
            "head.sample",
            f"takes {count} of {classes:,} classes in a step, and a batch of {batch_size} images "
            "may have more: raise it, or take smaller batches",
        )


def check_proxies(recipe: Recipe, learner: "Learner"):
    """Raises an error for proxies that are to be divided and don't exist.

    Raises:
        OptionError: The loss has none.
    """
    if recipe.training.shard_proxies and not any(v.name == "proxies" for v in learner.variables):
        raise OptionError(
            "training.shard_proxies",
            f"must be false for the loss {recipe.names['loss']}, which has no proxies to divide",
        )


def check_statistics(recipe: Recipe, encoder: Any):
    """Raises an error for statistics that are to be estimated and never are.

    Args:
        recipe: The recipe.
        encoder: The model that it trains.

    Raises:
        OptionError: Nothing is interpolated, or no statistics change.
    """
    from dml.training._statistics import moving_normalisations

    plan = StagePlan.of(recipe)
    if recipe.training.interpolate_batch_norm == "interpolate" or not plan.whole:
        return
    if not plan.chooses:
        raise OptionError(
            "training.interpolate_batch_norm",
            "acts on interpolated weights only: set training.interpolate to validation, or leave "
            "it out",
        )
    second = plan.second and recipe.second_stage.batch_norm == "train"
    if not moving_normalisations(encoder, whole=second):
        raise OptionError(
            "training.interpolate_batch_norm",
            "must be interpolate: the network has no batch normalisation whose statistics change "
            "in training (backbone.batch_norm, backbone.lora_rank and training.train_blocks can "
            "freeze them)",
        )
