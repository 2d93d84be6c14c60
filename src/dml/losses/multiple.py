"""The weighted sum of several losses."""

import keras
from keras import ops

from dml.heads import JointHead
from dml.losses.base import MetricLoss, require


@keras.saving.register_keras_serializable("dml")
class MultipleLosses(MetricLoss):
    """Adds up losses of one embedding, each with a weight and, if it needs one, its own head.

    Args:
        losses: Parts of `dml.losses`, at least one. Losses that read an embedding's length before
            it is brought to 1 can't be among them.
        weights: One for each; at least 0. 1 for all if None.

    Call arguments:
        labels: As every one of the losses takes them.
        x: What the head of `head` returns.

    Raises:
        ValueError: The numbers of losses and weights differ, or a weight is negative.
    """

    def __init__(self, losses, weights=None):
        weights = [1.0] * len(losses) if weights is None else list(weights)
        require(losses, "losses must hold at least one", losses)
        require(
            len(weights) == len(losses) and min(weights) >= 0,
            f"weights must be {len(losses)} numbers, at least 0",
            weights,
        )
        long = [type(loss).__name__ for loss in losses if loss.reads_length]
        require(not long, "losses that read an embedding's length can't be added to others", *long)
        self.__post_init__()
        self.parts, self.weights = list(losses), weights

    def dims(self):
        """Returns how many of an embedding's first entries each loss sees; 0 for all."""
        return [0] * len(self.parts)

    def takes_memberships(self):
        return all(loss.takes_memberships() for loss in self.parts)

    def head(self, classes, embedding_dim):
        dims = self.dims()
        heads = [
            loss.head(classes, dim or embedding_dim)
            for loss, dim in zip(self.parts, dims, strict=True)
        ]
        return JointHead(heads, dims)

    def call(self, labels, x):  # each loss reads the labels in its own way
        return ops.reshape(self.batch_loss(labels, x), (1,))

    def batch_loss(self, labels, x):
        return sum(
            weight * ops.sum(loss(labels, part))
            for weight, loss, part in zip(self.weights, self.parts, x, strict=True)
        )

    def penalty(self, head):
        terms = [
            (weight, loss.penalty(own))
            for weight, loss, own in zip(self.weights, self.parts, head.heads, strict=True)
        ]
        terms = [weight * term for weight, term in terms if term is not None]
        return sum(terms) if terms else None

    def get_config(self):
        losses = [keras.saving.serialize_keras_object(loss) for loss in self.parts]
        return {"losses": losses, "weights": self.weights}

    @classmethod
    def from_config(cls, config):
        losses = [keras.saving.deserialize_keras_object(loss) for loss in config["losses"]]
        return cls(**{**config, "losses": losses})
