"""A loss whose anchors are brought to one number in another way than its own."""

import keras
from keras import ops

from dml.losses.base import MetricLoss, PairLoss
from dml.losses.mined import has_pairs
from dml.ops import as_weights, memberships
from dml.reductions import REDUCTIONS


def reduced(loss, reduction):
    """Returns the loss with a reduction in place of its own mean.

    Args:
        loss: A `PairLoss`, or a loss that is a mean over images.
        reduction: A part of `dml.reductions`.

    Raises:
        ValueError: The loss is no sum over anchors or images, with the reason.
    """
    if has_pairs(loss) and not loss.both_ends:
        return ReducedPairs(loss, reduction)
    if loss.averages_images:
        return ReducedImages(loss, reduction)
    reason = "looks at both ends of a pair at once" if has_pairs(loss) else "is of the whole batch"
    raise ValueError(
        f"a reduction takes the loss of each anchor alone, and {type(loss).__name__} {reason}: "
        "leave the reduction out"
    )


def each_row(function, arrays):
    """Returns the scalars (B,) of a function of one row of each array."""
    if keras.backend.backend() == "torch":  # its vmap refuses the branches of triplets
        return ops.map(function, arrays)
    return ops.vectorized_map(function, arrays)


class Reduced:
    """What both kinds share: how they are saved."""

    def __init__(self, loss, reduction):
        self.__post_init__()
        self.loss, self.reducer = loss, reduction  # Keras has a `reduction` of its own

    def get_config(self):
        serialized = keras.saving.serialize_keras_object(self.loss)
        return {"loss": serialized, "reduction": REDUCTIONS.config_of(self.reducer)}

    @classmethod
    def from_config(cls, config):
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, REDUCTIONS.part_of(config["reduction"]))


@keras.saving.register_keras_serializable("dml")
class ReducedPairs(Reduced, PairLoss):
    """A pair loss of each anchor alone, reduced. Miners and memories take it as they take others.

    Args:
        loss: A `PairLoss`.
        reduction: A part of `dml.reductions`.
    """

    def compare(self, anchors, references):
        return self.loss.compare(anchors, references)

    def pair_loss(self, compared, positive, negative):
        def alone(rows):
            return self.loss.pair_loss(*(row[None, :] for row in rows))

        values = each_row(alone, (compared, positive, negative))
        return self.reducer(values, 1.0 + ops.sum(as_weights(positive), axis=1))


@keras.saving.register_keras_serializable("dml")
class ReducedImages(Reduced, MetricLoss):
    """A loss of each image alone, by its cosines to proxies, reduced.

    Args:
        loss: A loss with `averages_images`.
        reduction: A part of `dml.reductions`.
    """

    def __init__(self, loss, reduction):
        super().__init__(loss, reduction)
        self.proxies_per_class = loss.proxies_per_class
        self.proxy_head, self.reads_length = loss.proxy_head, loss.reads_length

    def head(self, classes, embedding_dim):
        return self.loss.head(classes, embedding_dim)

    def penalty(self, head):
        return self.loss.penalty(head)

    def batch_loss(self, labels, x):
        def alone(row):
            label, own = row
            return self.loss.batch_loss(label[None], own[None])

        values = each_row(alone, (labels, x))
        own = as_weights(memberships(labels, x.shape[1]))
        same = ops.sum(as_weights(ops.matmul(own, ops.transpose(own)) > 0.5), axis=1)
        return self.reducer(values, ops.maximum(same, 1.0))
