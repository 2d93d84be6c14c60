"""A loss with a different reduction over its anchors."""

from typing import ClassVar

import keras
from keras import ops

from dml._registry import Registry
from dml.errors import OptionError
from dml.losses._wrapper import Wrapper, check_order
from dml.losses.base import MetricLoss, PairLoss
from dml.ops import class_sizes, is_relation, relation_of_memberships
from dml.reductions import REDUCTIONS, Reduction

_AROUND = ("Mined", "CrossBatchMemory", "SelfSupervised", "Matryoshka", "MultipleLosses")


def reduced(loss: MetricLoss, reduction: Reduction) -> MetricLoss:
    """Returns the loss with a reduction in place of its own mean.

    Args:
        loss: A `PairLoss`, or a loss that is a mean over images.
        reduction: A part of `dml.reductions`.

    Raises:
        OptionError: The loss is not a sum over anchors or images; the message gives the reason.

    Example:
        >>> labels = np.array([0, 0, 1, 1])
        >>> x = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8], [0.0, 1.0]], "float32")
        >>> loss = dml.losses.reduced(dml.losses.Contrastive(), dml.reductions.NonZero())
        >>> round(float(loss(labels, x)), 3)
        0.537
    """
    if isinstance(loss, _Reduced):
        raise OptionError("loss", "has a reduction already: reduce the loss itself, once")
    check_order(loss, "reduced(loss, reduction)", _AROUND)
    if loss.has_pairs() and not loss.both_ends:
        return ReducedPairs(loss, reduction)
    if loss.averages_images:
        return ReducedImages(loss, reduction)
    reason = "uses both images of a pair at once" if loss.has_pairs() else "is of the whole batch"
    raise OptionError(
        "loss",
        f"{type(loss).__name__} {reason}, but a reduction needs the loss of each anchor alone: "
        "leave the reduction out",
    )


def _each_row(function, arrays):
    """Returns the scalars (B,) of a function of one row of each array."""
    if keras.backend.backend() == "torch":  # its vmap does not support the branches of triplets
        return ops.map(function, arrays)
    return ops.vectorized_map(function, arrays)


class _Reduced(Wrapper):
    """The base class of both kinds, which holds the reduction."""

    registries: ClassVar[dict[str, Registry]] = {"reduction": REDUCTIONS}

    def __init__(self, loss: MetricLoss, reduction: Reduction):
        super().__init__(loss)
        self.reducer = reduction  # Keras has a `reduction` of its own

    def options(self):
        return {"reduction": self.reducer}


@keras.saving.register_keras_serializable("dml")
class ReducedPairs(_Reduced, PairLoss):
    """A pair loss of each anchor alone, reduced. Miners and memories accept it like any other.

    Args:
        loss: A `PairLoss`.
        reduction: A part of `dml.reductions`.
    """

    def compare(self, anchors, references):
        return self.loss.compare(anchors, references)

    def pair_share(self, compared, positive, negative):
        return self.loss.pair_share(compared, positive, negative)

    def labelled_loss(self, labels, compared, positive, negative):
        def alone(rows):
            return self.loss.pair_loss(*(row[None, :] for row in rows))

        values = _each_row(alone, (compared, positive, negative))
        return self.reducer(values, class_sizes(labels))


@keras.saving.register_keras_serializable("dml")
class ReducedImages(_Reduced):
    """A loss of each image alone, by its cosines to proxies, reduced.

    Args:
        loss: A loss with `averages_images`.
        reduction: A part of `dml.reductions`.
    """

    def batch_loss(self, labels, x):
        def alone(row):
            label, own = row
            return self.loss.batch_loss(label[None], own[None])

        values = _each_row(alone, (labels, x))
        related = relation_of_memberships(labels) if is_relation(labels) else labels
        return self.reducer(values, class_sizes(related))
