"""A pair loss that looks at the pairs of a miner only."""

import keras
from keras import ops

from dml.losses.base import MetricLoss, PairLoss
from dml.miners import MINERS
from dml.ops import as_weights, pair_masks, ratio


def has_pairs(loss):
    """Tells whether a loss is one of pairs alone, which others may choose for it."""
    return isinstance(loss, PairLoss) and type(loss).batch_loss is PairLoss.batch_loss


def check_minable(loss):
    """Raises ValueError, with the reason, unless a miner can choose pairs for this loss."""
    if has_pairs(loss):
        return
    reason = (
        "it compares images with proxies"
        if loss.proxies_per_class
        else "it reads the embeddings themselves"
    )
    raise ValueError(
        f"a miner or a memory takes pairs of images, and {type(loss).__name__} has none: "
        f"{reason}. Leave it out, or take a pair loss such as contrastive"
    )


@keras.saving.register_keras_serializable("dml")
class Mined(MetricLoss):
    """Gives a pair loss the pairs that a miner keeps, or their weights.

    The miner sees the batch's cosines, whatever the loss compares; no gradient passes through it.

    Args:
        loss: A `PairLoss`. Losses of proxies compare no pairs of images.
        miner: A part of `dml.miners`.

    Raises:
        ValueError: The loss compares no pairs that a miner could choose from.
    """

    def __init__(self, loss, miner):
        check_minable(loss)
        self.__post_init__()
        self.loss, self.miner = loss, miner

    def mined(self, labels, embeddings):
        """Returns the masks (B, B) that the loss sees."""
        similarities = ops.matmul(embeddings, ops.transpose(embeddings))
        return self.miner.mine(ops.stop_gradient(similarities), *pair_masks(labels))

    def batch_loss(self, labels, embeddings):
        compared = self.loss.compare(embeddings, embeddings)
        return self.loss.pair_loss(compared, *self.mined(labels, embeddings))

    def active_share(self, labels, embeddings):
        kept, pairs = (
            sum(ops.sum(as_weights(mask)) for mask in masks)
            for masks in (self.mined(labels, embeddings), pair_masks(labels))
        )
        return ratio(kept, pairs)

    def get_config(self):
        serialized = keras.saving.serialize_keras_object(self.loss)
        return {"loss": serialized, "miner": MINERS.config_of(self.miner)}

    @classmethod
    def from_config(cls, config):
        loss = keras.saving.deserialize_keras_object(config["loss"])
        return cls(loss, MINERS.part_of(config["miner"]))
