"""The schema of recipes: sections and their options."""

import dataclasses
import importlib
import inspect
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from dml._options import (
    check_at_least,
    check_counts,
    check_integer,
    check_interval,
    check_known,
    check_positive,
)
from dml._registry import Registry
from dml._storage.places import expanded
from dml.errors import OptionError

if TYPE_CHECKING:  # these load Keras
    from dml.augmentations import Augmentation
    from dml.backbones import Backbone
    from dml.datasets import DatasetPart
    from dml.encoding import EmbeddingOptions
    from dml.losses import MetricLoss
    from dml.miners import Miner
    from dml.reductions import Reduction
    from dml.regularizers import Regularizer
    from dml.samplers import Sampler
    from dml.training import OptimizerOptions


@dataclass(frozen=True)
class Family:
    """A section that names one of a family's parts.

    Args:
        package: The package of the family.
        registry: The name of its registry there.
        default: The part of a recipe that names none; `none` if the section may be empty.
    """

    package: str
    registry: str
    default: str

    def parts(self) -> Registry:
        """Returns {name: class} of the family; this imports it."""
        return getattr(importlib.import_module(self.package), self.registry)


FAMILIES = {
    "dataset": Family("dml.datasets", "DATASETS", "glyphs"),
    "backbone": Family("dml.backbones", "BACKBONES", "mobilenet"),
    "sampler": Family("dml.samplers", "SAMPLERS", "shuffle"),
    "augmentation": Family("dml.augmentations", "AUGMENTATIONS", "paper"),
    "loss": Family("dml.losses", "LOSSES", "proxy_anchor"),
    "miner": Family("dml.miners", "MINERS", "none"),
    "reduction": Family("dml.reductions", "REDUCTIONS", "none"),
    "auxiliary_loss": Family("dml.losses", "LOSSES", "none"),
    "regularizer": Family("dml.regularizers", "REGULARIZERS", "none"),
}
# Sections that only hold options: package and name of their class.
GROUPS = {
    "embedding": ("dml.encoding", "EmbeddingOptions"),
    "optimizer": ("dml.training", "OptimizerOptions"),
    "head": ("dml.recipe", "HeadOptions"),
    "memory": ("dml.recipe", "MemoryOptions"),
    "training": ("dml.recipe", "TrainingOptions"),
    "head_stage": ("dml.recipe", "HeadStageOptions"),
    "second_stage": ("dml.recipe", "SecondStageOptions"),
    "evaluation": ("dml.recipe", "EvaluationOptions"),
}
SECTIONS = (*FAMILIES, *GROUPS)
PATHS = {
    ("backbone", "path"),
    ("backbone", "preset"),
    ("backbone", "weights"),
    ("sampler", "path"),
}
PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
EXCLUSIONS = ("none", "camera", "sequence")
EXTRA_METRICS = ("precision", "map", "ndcg", "full_map")  # as `dml.evaluation`, not loaded here


@dataclass(frozen=True)
class HeadOptions:
    """The proxies of very many classes.

    Args:
        sample: Share of the classes whose proxies a training step compares with and updates, in
            (0, 1]: those of its batch, and others drawn at random (An et al., CVPR 2022: 0.1). At
            least as many classes as a batch has images. Below 1, only for losses with plain
            proxies.
        correct_bias: Whether a softmax over the sample is corrected for the classes that it leaves
            out: the cosines of those that were drawn are raised. For `normalized_softmax`,
            `arcface`, `cosface` and `sphereface`.
        storage: Format of the proxies of all classes, and of the optimizer's state for them,
            where a step takes a sample: `float32`, or `bfloat16`, which takes half the memory. It
            is rounded at random, so that small steps add up; a step computes in float32.
    """

    sample: float = 1.0
    correct_bias: bool = False
    storage: str = "float32"

    def __post_init__(self):
        check_interval("(0, 1]", sample=self.sample)
        check_known(("float32", "bfloat16"), storage=self.storage)


@dataclass(frozen=True)
class MemoryOptions:
    """Embeddings of earlier batches as further references of a pair loss.

    Args:
        size: Embeddings that are kept; 0 keeps none. Below the number of training images.
        start: Batches before the memory is used; at least 0. 1000 in the paper (Wang et al., 2020).
        weight: Weight of the memory's pairs, relative to the batch's own; at least 0.
    """

    size: int = 0
    start: int = 1000
    weight: float = 1.0

    def __post_init__(self):
        check_integer(0, size=self.size, start=self.start)
        check_at_least(0, weight=self.weight)


@dataclass(frozen=True)
class HeadStageOptions:
    """The head stage, which trains embedding and proxies on cached features of the backbone.

    Loss, sampler and further options of the optimizer are those of the recipe.

    Args:
        epochs: Passes over the training split; positive.
        views: Augmented views of each image whose features are cached, in addition to the image
            itself; at least 0.
        learning_rate: Peak learning rate of the embedding layer; positive.
        head_learning_rate: Peak learning rate of the proxies; positive.
    """

    epochs: int = 20
    views: int = 4
    learning_rate: float = 1e-3
    head_learning_rate: float = 1e-2

    def __post_init__(self):
        check_integer(1, epochs=self.epochs)
        check_integer(0, views=self.views)
        check_positive(learning_rate=self.learning_rate, head_learning_rate=self.head_learning_rate)


@dataclass(frozen=True)
class SecondStageOptions:
    """A second fine-tuning of the stage `adapt`, at higher rates.

    It follows only where the first was better in validation than the head alone by more than a
    standard error: where careful fine-tuning does not help, larger steps do harm. It starts from
    the weights of the first, and whatever is better in validation is kept. All other options are
    those of the recipe.

    Args:
        epochs: Passes over the training split; 0 leaves it out.
        learning_rate: Peak learning rate of the encoder; positive.
        head_learning_rate: Peak learning rate of the proxies; positive.
        batch_norm: `train` or `frozen`, as `backbone.batch_norm`; where that is `fixed`, it stays.
    """

    epochs: int = 0
    learning_rate: float = 5e-4
    head_learning_rate: float = 1e-2
    batch_norm: str = "train"

    def __post_init__(self):
        check_integer(0, epochs=self.epochs)
        check_positive(learning_rate=self.learning_rate, head_learning_rate=self.head_learning_rate)
        check_known(("train", "frozen"), batch_norm=self.batch_norm)


@dataclass(frozen=True)
class TrainingOptions:
    """Length and settings of the training.

    Args:
        epochs: Passes over the training split; positive.
        freeze_backbone_epochs: First epochs in which the backbone is frozen, and only embedding
            and head learn. At least 0.
        seed: Seed of weights, batches and augmentation, from 0 to 4,294,967,295.
        select: `best` keeps the epoch with the highest validation R@1, `last` the last one.
            Without a validation split, the last.
        validate_every: Epochs between two validations; positive. Less than 1 validates within
            epochs, too: 0.25, four times in each.
        patience: Validations in a row without a higher R@1 after which the training stops, in each
            of its stages; at least 0, where 0 never stops it. The validation before the first epoch
            counts as a result to exceed. Needs a validation split.
        unreadable: How to handle unreadable images: `error` stops before the training, `skip`
            leaves them out of every split and reports how many. An image that becomes unreadable
            during the training is replaced by another of its class.
        precision: Keras' dtype policy: `float32`, `mixed_bfloat16` or `mixed_float16`.
        threads: Threads that read images, positive; `none` for one per processor, at most 16.
        chunks: Number of parts in which a batch passes through the encoder, which takes the memory
            of one part and about a third more time; the loss sees the whole batch. Must divide the
            batch size.
        auxiliary_loss_weight: Weight of the loss that the section `auxiliary_loss` names; at
            least 0.
        nested_dims: Numbers of leading entries that are also trained as embeddings of their own
            (Matryoshka). Empty for none.
        views: 2 trains without labels: two views of an image are its only positive pair.
        stage: `full` trains the whole encoder; `head` only the embedding and the proxies, on cached
            features of the frozen backbone, in seconds per epoch; `adapt` trains the head first,
            then the whole encoder from there, and keeps the simplest result within a standard error
            of the best in validation: the frozen network, the head, or fine-tuned weights.
        interpolate: `validation` measures encoders between the weights before and after
            fine-tuning on the validation split and keeps the best, and of equals the one nearest
            to the middle (Wortsman et al., 2022); `none` keeps the trained weights. Always done by
            `adapt`.
        interpolate_batch_norm: Where interpolated encoders take the moving means and variances of
            batch normalisation from: `interpolate` takes those between the ones before and after
            fine-tuning; `estimate` measures them on up to 2,048 training images without
            augmentation (Izmailov et al., 2018).
        select_aspect: Whether the frozen network chooses `backbone.aspect`, and the augmentation's,
            before the training: the recipe's own unless R@1 in validation with the other one is
            higher by more than a standard error. The run's recipe has the choice.
        refit: Whether to train once more on the training and validation images together, as the
            validation chose: its stages, their best epochs (the nearest whole number of them) and
            the share of the trained weights.
            More classes make a better embedding, but no images are then left to calibrate
            thresholds on.
        train_blocks: How many of the last blocks of the backbone train, in addition to embedding
            and head; the batch normalisation of the others uses and keeps its statistics. 0 trains
            embedding and head alone, `none` all.
        average: `ema` keeps an exponential average of the encoder's weights, statistics of batch
            normalisation included, beside them; validation, the best epoch and the result are of
            the average. `none` keeps none.
        average_decay: The share that the average keeps in a step, in (0, 1); less in the first
            steps, min(decay, (1 + t) / (10 + t)) in step t, so that it soon forgets the weights
            that it started with.
        trackers: Services that each line of the log is sent to, in addition to TensorBoard:
            `wandb`, Weights & Biases (the extra `wandb`), whose environment variables say where and
            whether online. Each stage of the training is a run of its own there.
        devices: Devices that train, a number or `all`, on JAX: of this machine, or of all processes
            that train together. Each embeds its share of a batch, and the loss sees the whole
            batch. The batch, or each of its `chunks`, must be a multiple of them.
        shard_proxies: Whether each device holds the proxies of its share of the classes only, for
            very many classes; with `head.sample`, of the table of all proxies.
    """

    epochs: int = 30
    freeze_backbone_epochs: int = 0
    seed: int = 0
    select: str = "best"
    validate_every: float = 1.0
    patience: int = 0
    unreadable: str = "error"
    precision: str = "float32"
    threads: int | None = None
    chunks: int = 1
    auxiliary_loss_weight: float = 1.0
    nested_dims: tuple[int, ...] = ()
    views: int = 1
    stage: str = "full"
    interpolate: str = "none"
    interpolate_batch_norm: str = "interpolate"
    select_aspect: bool = False
    refit: bool = False
    train_blocks: int | None = None
    average: str = "none"
    average_decay: float = 0.999
    trackers: tuple[str, ...] = ()
    devices: int | str = 1
    shard_proxies: bool = False

    def __post_init__(self):
        check_integer(1, epochs=self.epochs, chunks=self.chunks)
        check_positive(validate_every=self.validate_every)
        check_interval("[0, 4294967295]", seed=self.seed)  # of 32 bits
        check_integer(0, seed=self.seed)
        if self.threads is not None:
            check_integer(1, threads=self.threads)
        check_integer(0, freeze_backbone_epochs=self.freeze_backbone_epochs)
        check_integer(0, patience=self.patience)
        check_at_least(0, auxiliary_loss_weight=self.auxiliary_loss_weight)
        check_known((1, 2), views=self.views)
        if self.train_blocks is not None:
            check_integer(0, train_blocks=self.train_blocks)
        check_known(("none", "ema"), average=self.average)
        for name in self.trackers:
            check_known(("wandb",), trackers=name)
        check_interval("(0, 1)", average_decay=self.average_decay)
        if self.nested_dims:
            check_counts(nested_dims=self.nested_dims)
        check_known(("best", "last"), select=self.select)
        check_known(("error", "skip"), unreadable=self.unreadable)
        check_known(PRECISIONS, precision=self.precision)
        check_known(("full", "head", "adapt"), stage=self.stage)
        check_known(("none", "validation"), interpolate=self.interpolate)
        known = ("interpolate", "estimate")
        check_known(known, interpolate_batch_norm=self.interpolate_batch_norm)
        if isinstance(self.devices, int):
            check_integer(1, devices=self.devices)
        elif self.devices != "all":
            raise OptionError("devices", f"must be a positive number or all; got {self.devices!r}")
        if self.shard_proxies and self.devices == 1:
            raise OptionError("shard_proxies", "must be false on one device: set devices, too")


@dataclass(frozen=True)
class EvaluationOptions:
    """Settings of the evaluation on the test split.

    Args:
        batch_size: Images embedded at once; positive.
        ks: The K of R@K; empty takes the data set's customary ones.
        extra_metrics: Further retrieval metrics: `precision`, `map` and `ndcg` at each K, and
            `full_map`.
        exclude: What a query's search leaves out, in validation and test: `camera`, the images of
            its class by its own camera, as in person re-identification (Zheng et al., 2015);
            `sequence`, those of its class in its own sequence; or `none`. The data set must be a
            `table`, `parquet` or `webdataset` with such a column. Queries without another positive
            are excluded and counted.
        clustering_seeds: k-means runs behind NMI and AMI; 0 leaves them out.
        verification: Whether to measure same-or-different decisions over all pairs: AUC, EER and
            the true accept rate at small false accept rates. Its time grows with the square of the
            number of images.
        target_precision: Precision of nearest neighbours that the calibrated threshold promises;
            in (0, 1).
        target_far: False accept rate (share of accepted pairs of different classes) that the other
            calibrated threshold promises; in (0, 1).
        tensorboard: Whether TensorBoard gets the queries that the report draws, with their
            neighbours, and up to 2,000 embeddings of queries with their images for its projector,
            in the run's folder `tensorboard/evaluation`. For the run's own data set.
    """

    batch_size: int = 64
    ks: tuple[int, ...] = ()
    extra_metrics: tuple[str, ...] = ()
    exclude: str = "none"
    clustering_seeds: int = 3
    verification: bool = True
    target_precision: float = 0.9
    target_far: float = 0.01
    tensorboard: bool = False

    def __post_init__(self):
        check_integer(1, batch_size=self.batch_size)
        check_integer(0, clustering_seeds=self.clustering_seeds)
        check_interval("(0, 1)", target_precision=self.target_precision, target_far=self.target_far)
        if self.ks:
            check_counts(ks=self.ks)
        for name in self.extra_metrics:
            check_known(EXTRA_METRICS, extra_metrics=name)
        check_known(EXCLUSIONS, exclude=self.exclude)

    def ks_for(self, dataset: "DatasetPart") -> tuple[int, ...]:
        """Returns the K of R@K on a data set."""
        return self.ks or dataset.recall_ks


@dataclass(frozen=True)
class Recipe:
    """Everything that configures a run: one part or set of options per section.

    `names` maps each section that names a part to that name, `parts` lists the absolute paths of
    the user's own files.
    """

    dataset: "DatasetPart"
    backbone: "Backbone"
    embedding: "EmbeddingOptions"
    sampler: "Sampler"
    augmentation: "Augmentation"
    loss: "MetricLoss"
    miner: "Miner | None"
    reduction: "Reduction | None"
    auxiliary_loss: "MetricLoss | None"
    regularizer: "Regularizer | None"
    optimizer: "OptimizerOptions"
    head: HeadOptions
    memory: MemoryOptions
    head_stage: HeadStageOptions
    second_stage: SecondStageOptions
    training: TrainingOptions
    evaluation: EvaluationOptions
    names: dict[str, str]
    parts: tuple[str, ...] = field(default=())

    def to_toml(self) -> str:
        """Returns the recipe as TOML, with every option and its value."""
        lines = [f"parts = {toml_value(list(self.parts))}", ""] if self.parts else []
        for section in SECTIONS:
            lines.append(f"[{section}]")
            if section in self.names:
                lines.append(f"name = {toml_value(self.names[section])}")
            part = getattr(self, section)
            for option in options_of(type(part)) if part is not None else ():
                value = getattr(part, option.name)
                if value is not None:
                    lines.append(f"{option.name} = {toml_value(value)}")
                elif option.default is not None:
                    lines.append(f'{option.name} = "none"')
            lines.append("")
        return "\n".join(lines)

    def with_absolute_paths(self) -> "Recipe":
        """Returns the recipe with absolute paths, so that it is valid in any folder."""

        def absolute(value):
            path = expanded(value)
            return os.path.abspath(path) if path.exists() else value

        changes = {"dataset": dataclasses.replace(self.dataset, root=self.dataset.absolute_root())}
        for section, option in PATHS:
            part = changes.get(section, getattr(self, section))
            value = getattr(part, option, None)
            if value and value not in ("imagenet", "preset", "none"):
                changes[section] = dataclasses.replace(part, **{option: absolute(value)})
        return dataclasses.replace(self, **changes)


def options_of(part: type) -> list[dataclasses.Field]:
    """Returns the option fields of a part's class; an empty list if it has no options."""
    return [f for f in dataclasses.fields(part) if f.init] if dataclasses.is_dataclass(part) else []


def option_names(sections: Iterable[str] = SECTIONS) -> dict[str, list[str]]:
    """Returns the options of some sections by name: {"epochs": ["training.epochs"], ...}.

    A section's own name stands for the part that it names: {"loss": ["loss.name"], ...}.
    """
    found: dict[str, dict[str, None]] = {}
    for section in sections:
        if section in FAMILIES:
            parts = FAMILIES[section].parts().values()
            found.setdefault(section, {})[f"{section}.name"] = None
        else:
            parts = [group_of(section)]
        for part in parts:
            for option in options_of(part):
                found.setdefault(option.name, {})[f"{section}.{option.name}"] = None
    return {name: list(places) for name, places in found.items()}


def group_of(section: str) -> type:
    """Returns the class of a section that only holds options."""
    package, name = GROUPS[section]
    return getattr(importlib.import_module(package), name)


def documentation_of(part: type) -> dict[str, str]:
    """Returns {option: its text in the docstring} of a part's class; python -OO keeps none."""
    found = {}
    for base in reversed(part.__mro__):
        arguments = inspect.cleandoc(base.__doc__ or "").partition("\nArgs:\n")[2]
        for entry in re.split(r"^ {4}(?! )", arguments, flags=re.MULTILINE)[1:]:
            name, _, text = entry.partition(":")
            found[name] = " ".join(text.partition("\n\n")[0].split())
    return {option.name: found[option.name] for option in options_of(part) if option.name in found}


def toml_value(value: Any) -> str:
    """Returns a number, string, boolean or list as TOML."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # JSON's escapes are valid TOML, which also requires DEL to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml_value(v) for v in value) + "]"
    return repr(value)
