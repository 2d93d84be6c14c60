"""Composes the training loss: the recipe's loss with its reduction, miner and other wrappers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from dml.errors import OptionError
from dml.recipe._schema import Recipe

if TYPE_CHECKING:  # loads Keras
    from dml.losses import MetricLoss


def training_loss(recipe: Recipe) -> "MetricLoss":
    """Returns the recipe's loss, wrapped by its reduction, miner, memory and so on.

    Raises:
        OptionError: The loss can't be combined with one of them, or they are incompatible.
    """
    from dml.losses import (  # loads Keras
        CrossBatchMemory,
        Matryoshka,
        Mined,
        MultipleLosses,
        SelfSupervised,
        reduced,
    )

    memory, training, dim = recipe.memory, recipe.training, recipe.embedding.dim
    if recipe.miner is not None and memory.size:
        raise OptionError(
            "memory.size",
            "can't be combined with a miner, which selects a batch's own pairs: leave one out",
        )
    if training.nested_dims and max(training.nested_dims) >= dim:
        raise OptionError(
            "training.nested_dims",
            f"must be below embedding.dim, {dim}; got {list(training.nested_dims)}",
        )
    _check_regularizer(recipe)
    loss = recipe.loss
    if recipe.reduction is not None:
        loss = _put_around("reduction", reduced, loss, recipe.reduction)
    if recipe.miner is not None:
        loss = _put_around("miner", Mined, loss, recipe.miner)
    if memory.size:
        loss = _put_around(
            "memory", CrossBatchMemory, loss, memory.size, memory.start, memory.weight
        )
    beside = recipe.auxiliary_loss
    if training.views > 1:
        loss = _put_around("training.views", SelfSupervised, loss)
        beside = beside and _put_around("training.views", SelfSupervised, beside)
    if beside is not None:
        losses, weights = [loss, beside], [1, training.auxiliary_loss_weight]
        loss = _put_around("auxiliary_loss", MultipleLosses, losses, weights)
    if training.nested_dims:
        lengths = sorted({*training.nested_dims, dim})
        loss = _put_around("training.nested_dims", Matryoshka, loss, lengths)
    return loss


def _check_regularizer(recipe: Recipe) -> None:
    """Raises OptionError unless there are proxies of one loss for a regularizer that needs them."""
    part = recipe.regularizer
    if part is None or "proxies" not in part.acts_on:
        return
    name = recipe.names["regularizer"]
    if not recipe.loss.proxies_per_class:
        raise OptionError(
            "regularizer",
            f"{name} acts on proxies, and loss {recipe.names['loss']} has none: leave it out, or "
            "take a loss such as proxy_anchor",
        )
    several = {
        "auxiliary_loss": recipe.auxiliary_loss is not None,
        "training.nested_dims": bool(recipe.training.nested_dims),
    }
    for option, there in several.items():
        if there:
            raise OptionError(
                "regularizer",
                f"{name} acts on the proxies of one loss and can't be combined with {option}: "
                "leave one of the two out",
            )


def _put_around(option: str, wrapper: "Callable[..., MetricLoss]", *arguments: Any) -> "MetricLoss":
    """Returns `wrapper(*arguments)`; its errors are reported for the recipe's `option`."""
    try:
        return wrapper(*arguments)
    except ValueError as error:
        raise OptionError(option, f"does not fit the loss: {error}") from None
