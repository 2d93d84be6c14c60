"""The base class of losses that wrap another loss."""

from typing import Any, ClassVar, Self

import keras

from dml._registry import Registry
from dml.errors import OptionError
from dml.heads import Head
from dml.losses.base import MetricLoss

NO_MINER = (
    "can't be combined with a miner, which selects a batch's own pairs: leave one of the two out"
)
NO_CLASSES = (
    "remembers the classes of earlier batches, and without labels there are none: train without "
    "SelfSupervised (training.views = 1), or without a memory"
)


class Wrapper(MetricLoss):
    """A loss that wraps another one and forwards to it everything that it does not override.

    Subclasses pass the loss to `__init__`, return their other arguments from `options`, and
    override methods.

    Args:
        loss: A part of `dml.losses`.
    """

    # Attributes that are forwarded.
    forwarded: ClassVar[tuple[str, ...]] = (
        "proxies_per_class",
        "proxy_head",
        "views",
        "reads_length",
        "averages_images",
        "is_softmax_of_cosines",
        "initial_proxy_length",
    )
    # How it is called, for errors about the order of wrappers.
    written: ClassVar[str] = ""
    # Options that are parts, and the registry that saves each.
    registries: ClassVar[dict[str, Registry]] = {}

    def __init__(self, loss: MetricLoss):
        self.__post_init__()
        self.loss: Any = loss
        for name in self.forwarded:
            setattr(self, name, getattr(loss, name))

    @property
    def scale(self) -> float:
        """The factor of the cosines, of a softmax of cosines."""
        return self.loss.scale

    def takes_memberships(self) -> bool:
        return self.loss.takes_memberships()

    def takes_relation(self) -> bool:
        return self.loss.takes_relation()

    def why_classes(self):
        return self.loss.why_classes()

    def labels_of(self, targets):
        return self.loss.labels_of(targets)

    def reads_classes(self) -> bool:
        return self.loss.reads_classes()

    def needs_head(self) -> bool:
        return self.loss.needs_head()

    def head(self, classes: int | None, embedding_dim: int) -> Head | None:
        return self.loss.head(classes, embedding_dim)

    def penalty(self, head, /):
        return self.loss.penalty(head)

    def active_share(self, labels, x, /):
        return self.loss.active_share(labels, x)

    def has_active_share(self) -> bool:
        return self.loss.has_active_share()

    def options(self) -> dict[str, Any]:
        """Returns the other arguments of this wrapper, by name."""
        return {}

    def get_config(self) -> dict[str, Any]:
        options = {
            name: self.registries[name].config_of(value) if name in self.registries else value
            for name, value in self.options().items()
        }
        return {"loss": keras.saving.serialize_keras_object(self.loss), **options}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        parts = {name: cls.registries[name].part_of(config[name]) for name in cls.registries}
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(**{**config, **parts, "loss": loss})


def check_order(loss: MetricLoss, inner: str, around: tuple[str, ...]) -> None:
    """Raises OptionError if a loss is a wrapper that goes around what is put around it.

    Args:
        loss: A part of `dml.losses`.
        inner: The call that puts it around a loss, such as "reduced(loss, reduction)".
        around: The names of wrappers that take its result.
    """
    name = type(loss).__name__
    if isinstance(loss, Wrapper) and name in around:
        raise OptionError(
            "loss", f"{name} goes around {inner}, not into it: {loss.written.format(inner)}"
        )


def require_pairs(loss: MetricLoss) -> None:
    """Raises OptionError, with the reason, unless a loss is of pairs that a miner may select."""
    if loss.has_pairs():
        return
    if loss.proxies_per_class:
        reason = "compares images with proxies"
    elif loss.needs_head():
        reason = "reads more than embeddings, from a layer of its own"
    else:
        reason = "reads embeddings"
    raise OptionError(
        "loss",
        f"{type(loss).__name__} {reason}, and a miner or a memory needs one of pairs of images: "
        "leave it out, or take a pair loss such as contrastive",
    )
