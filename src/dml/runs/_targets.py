"""The targets of training batches whose images have several labels each."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from dml.datasets import Items
from dml.errors import OptionError
from dml.recipe import Recipe, training_loss

if TYPE_CHECKING:
    from dml.losses import MetricLoss


def check_targets(recipe: Recipe, items: Items) -> None:
    """Raises an error for parts that need one class each, if images have several labels.

    Args:
        recipe: The recipe.
        items: The images.

    Raises:
        OptionError: The sampler, the loss, the memory or the regularizer needs classes.
    """
    if not items.separator or recipe.training.views > 1:  # which trains without labels
        return
    why = "images have several labels here (dataset.label_separator)"
    if recipe.names["sampler"] != "shuffle":
        name = recipe.names["sampler"]
        raise OptionError(
            "sampler.name", f"must be shuffle, not {name}, which draws classes: {why}"
        )
    loss = training_loss(recipe)
    if not (loss.takes_memberships() or loss.takes_relation()):
        raise OptionError(
            "loss.name",
            "must compare images with each other or with proxies, and not both (leave out "
            "auxiliary_loss), nor have a boundary for each class (set loss.per_class to false): "
            f"{why}",
        )
    if recipe.memory.size:
        raise OptionError("memory.size", f"must be 0: the memory keeps one class of each: {why}")
    if recipe.regularizer is not None and recipe.regularizer.acts_on == "head":
        name = recipe.names["regularizer"]
        raise OptionError("regularizer.name", f"can't be {name}, which draws by classes: {why}")


def batch_targets(items: Items, loss: "MetricLoss") -> Callable[[np.ndarray], np.ndarray] | None:
    """Returns what a loss takes in place of class codes; None if it takes these.

    Args:
        items: The training images.
        loss: The training loss.

    Returns:
        A function from the class codes (B,) of a batch: for proxy losses to the memberships
        of labels, float32 (B, labels); for others to the relation, float32 (B, B), which is 1 for
        images with a label in common.
    """
    if not items.separator or loss.views > 1:
        return None
    table = items.memberships()
    if loss.takes_memberships():
        return lambda classes: table[classes]
    return lambda classes: (table[classes] @ table[classes].T > 0).astype("float32")
