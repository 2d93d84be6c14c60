"""Lines on a training before it starts: its data, its network, and what to know about them."""

from collections.abc import Iterator

import numpy as np

from dml._devices import devices_in_use
from dml._text import number_of
from dml.backbones import Hub, Own
from dml.datasets import Items
from dml.recipe import Recipe
from dml.runs._parameters import Parameters
from dml.runs._stage_plan import StagePlan
from dml.runs._validation import is_measured

_OF_THE_BACKBONE = (
    ("backbone", "lora_rank"),
    ("optimizer", "layer_decay"),
    ("training", "freeze_backbone_epochs"),
    ("training", "chunks"),
    ("training", "train_blocks"),
    ("training", "average"),
)


def describe_data(items: Items, name: str) -> str:
    """Returns one line about the data of a run."""
    counts = []
    for split in ("train", "val", "test", "query", "gallery"):
        part = items.select(split)
        if len(part):
            images = number_of(len(part), "image")
            counts.append(f"{split} {images} of {number_of(len(part.label_names), 'class')}")
    return f"{name} ({items.protocol}): {', '.join(counts)}"


def describe_training(recipe: Recipe, parameters: Parameters, steps: int, validated: bool) -> str:
    """Returns a line on the network, what is trained of it, the loss and how long.

    Args:
        recipe: The recipe.
        parameters: The parameters of its encoder.
        steps: Batches per epoch.
        validated: Whether there is a validation split, which decides on the second stage.
    """
    names, training = recipe.names, recipe.training
    further = ("miner", "auxiliary_loss", "regularizer")
    parts = [f"{s.replace('_', ' ')} {names[s]}" for s in further if names[s] != "none"]
    dim = f"embeddings of {recipe.embedding.dim}" if recipe.embedding.dim else "pooled features"
    size = recipe.backbone.input_size
    batches = f"{number_of(steps, 'batch')} of {number_of(recipe.sampler.batch_size, 'image')}"
    stages = []
    plan = StagePlan.of(recipe)
    if plan.head:
        stages.append(f"{number_of(recipe.head_stage.epochs, 'epoch')} of the head alone")
    if plan.whole:
        stages.append(number_of(training.epochs, "epoch"))
    if validated and plan.second:
        stages[-1] += f" and, if they help, {recipe.second_stage.epochs} more at higher rates,"
    devices = devices_in_use()
    shared = f" on {devices} devices" if devices > 1 else ""
    if shared and training.shard_proxies:
        shared += ", which share the proxies"
    return (
        f"training {network_of(recipe)}, {size} x {size} "
        f"pixels to {dim}; trains {parameters}; loss {', '.join([names['loss'], *parts])}; "
        f"{', then '.join(stages)} of {batches}{shared}"
    )


def network_of(recipe: Recipe) -> str:
    """Returns the name of a recipe's network, and its weights."""
    backbone = recipe.backbone
    own = isinstance(backbone, Own)
    weights = {
        "imagenet": "ImageNet weights",
        "preset": f"the preset {backbone.preset}" if isinstance(backbone, Hub) else "",
        "none": "its own weights" if own else "random weights",
    }.get(backbone.weights, f"the weights {backbone.weights}")
    return (
        f"{backbone.path if isinstance(backbone, Own) else recipe.names['backbone']} from {weights}"
    )


def notes_on(items: Items) -> Iterator[str]:
    """Yields lines on what to know about the data of a training before it starts."""
    yield from items.notes
    train = items.select("train")
    lone = np.flatnonzero(train.label_counts() == 1)
    if len(lone):
        more = f" and {len(lone) - 1:,} more" if len(lone) > 1 else ""
        yield (
            f"note: class {train.label_names[lone[0]]}{more} has a single training image, "
            "which no pair loss can use as a positive"
        )
    validation = items.select("val")
    if len(validation) and not is_measured(validation):
        yield (
            "note: validation has one class of two images or more, too few to measure R@1: nothing "
            "is chosen by it"
        )


def unused_options(recipe: Recipe) -> list[str]:
    """Returns the options for training the backbone that a training of the head alone leaves out.

    Those for what `adapt` does after its head stage, such as `training.interpolate`, are not named:
    its recipe has them.
    """
    if StagePlan.of(recipe).whole:
        return []
    return [
        f"{section}.{option}"
        for section, option in _OF_THE_BACKBONE
        if getattr(part := getattr(recipe, section), option) != getattr(type(part), option)
    ]


def notes_on_memory(recipe: Recipe, steps: int) -> Iterator[str]:
    """Yields a line if a training ends before its memory is used.

    Args:
        recipe: The recipe.
        steps: Batches per epoch.
    """
    plan, start = StagePlan.of(recipe), recipe.memory.start
    stages = (
        (plan.head, recipe.head_stage),
        (plan.whole, recipe.training),
        (plan.second, recipe.second_stage),
    )
    batches = steps * sum(stage.epochs for there, stage in stages if there)
    if recipe.memory.size and batches <= start:
        yield (
            f"note: the memory is used after {number_of(start, 'batch')} (memory.start), and the "
            f"training has {batches:,} at most: lower it, for example to {steps}, the batches of "
            "an epoch"
        )
