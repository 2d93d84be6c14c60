"""Checks and descriptions before a training starts."""

import contextlib
import dataclasses
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dml._devices import device_count, devices_in_use
from dml._processes import process_count
from dml._storage.run_folder import RunFolder
from dml._text import number_of
from dml.backbones import Hub, Own
from dml.datasets import DatasetPart, Items, RecordedItems
from dml.errors import DataError, OccupiedError, OptionError
from dml.recipe import Recipe
from dml.reporting import Reporter
from dml.runs._parameters import Parameters
from dml.runs._splits import TestSplit, has_positives
from dml.runs._validation import is_measured

if TYPE_CHECKING:
    from dml.training import Learner

_OF_THE_BACKBONE = (
    ("backbone", "lora_rank"),
    ("optimizer", "layer_decay"),
    ("training", "freeze_backbone_epochs"),
    ("training", "chunks"),
    ("training", "train_blocks"),
    ("training", "average"),
)


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


def has_head_stage(recipe: Recipe) -> bool:
    """Returns whether a training begins with a head stage.

    `adapt` leaves it out where there is nothing to learn from or to train: with a random backbone,
    without an embedding layer, and without labels.
    """
    able = recipe.backbone.is_pretrained and recipe.embedding.dim > 0 and recipe.training.views == 1
    return recipe.training.stage == "head" or (recipe.training.stage == "adapt" and able)


def may_have_second_stage(recipe: Recipe) -> bool:
    """Returns whether a training may go on to a second fine-tuning, which validation decides.

    With random weights the first fine-tuning has a training's full rates already.
    """
    adapts = recipe.training.stage == "adapt" and recipe.backbone.is_pretrained
    return adapts and recipe.second_stage.epochs > 0


def whole_stage(recipe: Recipe) -> str:
    """Returns what the stage that trains the whole encoder is called."""
    return "fine-tuning" if recipe.backbone.is_pretrained else "training"


def starts_from_components(recipe: Recipe) -> bool:
    """Returns whether the embedding layer starts as the principal components of the features."""
    embedding = recipe.embedding
    if not embedding.dim:
        return False
    return embedding.init == "pca" or (embedding.init == "auto" and recipe.backbone.is_pretrained)


def check_stage(recipe: Recipe):
    """Raises an error for a head stage in which nothing can be trained.

    Raises:
        OptionError: There is no embedding layer, or the loss needs two views of each image.
    """
    if recipe.training.stage != "head":
        return
    if not recipe.embedding.dim:
        text = "must be positive for training.stage = 'head', which trains that layer"
        raise OptionError("embedding.dim", text)
    if recipe.training.views > 1:
        text = "must be 1 for training.stage = 'head', which trains on cached features"
        raise OptionError("training.views", text)


def unused_options(recipe: Recipe) -> list[str]:
    """Returns the options for training the backbone that a training of the head alone leaves out.

    Those for what `adapt` does after its head stage, such as `training.interpolate`, are not named:
    its recipe has them.
    """
    if recipe.training.stage != "head":
        return []
    return [
        f"{section}.{option}"
        for section, option in _OF_THE_BACKBONE
        if getattr(part := getattr(recipe, section), option) != getattr(type(part), option)
    ]


def with_smaller_batches(recipe: Recipe, images: int) -> Recipe:
    """Returns a recipe with two batches in an epoch where a single one would not be filled.

    Batches that devices or chunks divide stay as they are, and so do those of whole classes.

    Args:
        recipe: The recipe.
        images: Of the training split.
    """
    training, sampler = recipe.training, recipe.sampler
    of_images = recipe.names["sampler"] in ("shuffle", "weighted")
    divided = training.devices != 1 or training.chunks > 1
    if sampler.batch_size <= images or not of_images or divided:
        return recipe
    smaller = dataclasses.replace(sampler, batch_size=max(images // 2, 1))
    return dataclasses.replace(recipe, sampler=smaller)


def check_sample(share: float, classes: int, batch_size: int):
    """Raises an OptionError for a sample of the classes that can't hold those of a batch.

    Args:
        share: `head.sample`.
        classes: Of the training.
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

    training = recipe.training
    if training.interpolate_batch_norm == "interpolate" or training.stage == "head":
        return
    if training.stage == "full" and training.interpolate == "none":
        raise OptionError(
            "training.interpolate_batch_norm",
            "acts on interpolated weights only: set training.interpolate to validation, or leave "
            "it out",
        )
    second = may_have_second_stage(recipe) and recipe.second_stage.batch_norm == "train"
    if not moving_normalisations(encoder, whole=second):
        raise OptionError(
            "training.interpolate_batch_norm",
            "must be interpolate: the network has no batch normalisation whose statistics change "
            "in training (backbone.batch_norm, backbone.lora_rank and training.train_blocks can "
            "freeze them)",
        )


def check_devices(recipe: Recipe) -> int:
    """Returns on how many devices a recipe trains.

    Raises:
        OptionError: There are fewer, they can't share a batch evenly, or the backend is not JAX.
    """
    training, batch = recipe.training, recipe.sampler.batch_size
    count = _device_count(training.devices)
    shares = count * training.chunks
    if count > 1 and batch % shares:
        parts = f"{training.chunks} chunks of " if training.chunks > 1 else ""
        lower, upper = batch // shares * shares, -(-batch // shares) * shares
        nearest = f"{lower} or {upper}" if lower else str(upper)
        raise OptionError(
            "training.devices",
            f"must share {parts}a batch evenly; got {count} devices and a batch of {batch}. The "
            f"nearest batches are of {nearest} images",
        )
    return count


def _device_count(devices: int | str) -> int:
    """Returns how many devices `training.devices` is; its errors name the recipe's option."""
    try:
        return device_count(devices)
    except OptionError as error:
        raise OptionError("training.devices", error.text) from None


@dataclass(frozen=True)
class Shares:
    """What the devices of a training must be able to share evenly.

    Args:
        images: Of a batch, or of a chunk of it.
        proxies: (number, dimensions) of each set of proxies that is divided: by the one or the
            other.
    """

    images: int
    proxies: tuple[tuple[int, int], ...] = ()

    @classmethod
    def of(cls, recipe: Recipe, items: Callable[[], Items]) -> "Shares":
        """Returns the shares of a recipe's training.

        Args:
            recipe: The recipe.
            items: Returns all splits; called if proxies are divided.
        """
        training, dim = recipe.training, recipe.embedding.dim
        images = recipe.sampler.batch_size // training.chunks
        if not training.shard_proxies or not dim:  # which the network then decides
            return cls(images)
        from dml.training._sampled import sample_size

        splits = items()
        counts = {len(splits.select("train").label_names)}
        if training.refit:  # on all of them
            counts.add(len(splits.select("train", "val").label_names))
        counts |= {sample_size(recipe.head.sample, count) for count in counts}
        dims = sorted({*training.nested_dims, dim})
        return cls(images, tuple((count, one) for count in sorted(counts) for one in dims))

    def fit(self, devices: int) -> bool:
        """Returns whether so many devices can share all of it evenly."""
        fit = (not (count % devices and dim % devices) for count, dim in self.proxies)
        return self.images % devices == 0 and all(fit)

    def most(self, devices: int) -> int:
        """Returns how many of the devices can, at most."""
        return next(count for count in range(devices, 0, -1) if self.fit(count))

    def __str__(self):
        also = " and the proxies" if self.proxies else ""
        return f"a batch of {number_of(self.images, 'image')}{also}"


def recorded_items(folder: RunFolder) -> Items:
    """Returns the images that a run has recorded and can use, without reading them."""
    recorded = RecordedItems.read(folder.items)
    return recorded.items.take(recorded.digests != "")


def check_shares(shares: Shares, devices: int) -> None:
    """Raises an error for proxies that can't be divided, such as those of a training on all images.

    Args:
        shares: Of the training.
        devices: On which it begins.

    Raises:
        OptionError: They can't.
    """
    for count, dim in shares.proxies:
        if count % devices and dim % devices:
            raise OptionError(
                "training.shard_proxies",
                f"needs a number of proxies or of dimensions that {devices} devices can share "
                f"evenly; got {count} and {dim}. The nearest embedding.dim is "
                f"{-(-dim // devices) * devices}",
            )


def devices_to_resume(recipe: Recipe, items: Callable[[], Items], reporter: Reporter) -> int:
    """Returns on how many devices a run goes on: as many of the recipe's as are there and fit.

    Args:
        recipe: Of the run.
        items: Returns the images that it has recorded.
        reporter: Receives a line if these are fewer.

    Raises:
        OptionError: The backend is not JAX; or several processes would have devices left over.
    """
    training = recipe.training
    if training.devices == 1 and process_count() == 1:
        return 1
    there = _device_count("all")
    most = there if isinstance(training.devices, str) else min(training.devices, there)
    shares = Shares.of(recipe, items)
    count = shares.most(most)
    if process_count() > 1 and count < there:
        raise OptionError(
            "training.devices",
            f"is {training.devices}, of which {count} can share {shares} evenly, and "
            f"{process_count()} processes have {there}: start fewer",
        )
    if not isinstance(training.devices, str) and count < training.devices:
        reporter.info(
            f"note: going on with {count} of {training.devices} devices, as many as are here and "
            f"can share {shares} evenly; the numbers differ in their rounding only"
        )
    return count


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
        parameters: Of its encoder.
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
    if has_head_stage(recipe):
        stages.append(f"{number_of(recipe.head_stage.epochs, 'epoch')} of the head alone")
    if training.stage != "head":
        stages.append(number_of(training.epochs, "epoch"))
    if validated and may_have_second_stage(recipe):
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


def free_folder(parent: Path, name: str) -> Path:
    """Creates and returns the first of parent/name, parent/name-2, ... that does not exist.

    Raises:
        OptionError: The name is that of a folder elsewhere.
    """
    if name in ("", ".", "..") or os.path.basename(name) != name:
        raise OptionError("name", f"must be a name within {parent}, without folders; got {name!r}")
    number, path = 1, parent / name
    while True:
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
        number += 1
        path = parent / f"{name}-{number}"


def check_out(folder: str | os.PathLike[str], dataset: DatasetPart) -> None:
    """Raises an error for a run's folder that is the folder of the images, or one of its folders.

    The files of the run would then be taken for the data's. A new folder may lie there, and one in
    which `dml run` has begun.

    Args:
        folder: For the run.
        dataset: The data set.

    Raises:
        OccupiedError: It is.
    """
    if not dataset.root:
        return
    out, root = Path(folder).expanduser().resolve(), Path(dataset.absolute_root()).resolve()
    run = RunFolder(out)
    begun = {run.steps, run.items, out / ".lock"}
    if out == root or (root in out.parents and out.is_dir() and set(out.iterdir()) - begun):
        raise OccupiedError(folder, "is a folder of the images: choose another --out")


def run_name(source: str | os.PathLike[str]) -> str:
    """Returns the name of a run of a recipe, a data set, a folder or a pattern of files."""
    path = Path(os.path.abspath(Path(source).expanduser()))
    name = (path.name if path.is_dir() else path.stem) or "folder"  # the root has no name
    return name if path.exists() else re.sub(r"[^\w.]+", "-", name).strip("-")


def minutes(seconds: float) -> str:
    """Returns a duration as text."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
