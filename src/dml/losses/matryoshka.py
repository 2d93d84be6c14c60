"""Matryoshka representation learning (Kusupati et al., NeurIPS 2022, arXiv 2205.13147)."""

import keras

from dml.losses.base import require
from dml.losses.multiple import MultipleLosses


@keras.saving.register_keras_serializable("dml")
class Matryoshka(MultipleLosses):
    """Trains an embedding whose first entries are an embedding themselves.

    The weighted sum of one loss of the first d entries, brought to length 1, for each of `dims`.
    An index may then keep the first 64 of 512 entries, and lose little. Losses of proxies get
    proxies of each length.

    Args:
        loss: A part of `dml.losses`.
        dims: Lengths, each positive and at most the embedding's; it should be among them.
        weights: One for each length; at least 0. 1 for all if None (paper).

    Call arguments:
        labels: As the loss takes them.
        x: What the head of `head` returns.

    Raises:
        ValueError: A length is out of its range, or there are not as many weights as lengths.
    """

    def __init__(self, loss, dims, weights=None):
        require(len(dims) and min(dims) >= 1, "dims must be positive numbers", dims)
        super().__init__([loss] * len(dims), weights)
        self.loss, self.lengths = loss, list(dims)

    def dims(self):
        return self.lengths

    def head(self, classes, embedding_dim):
        require(
            max(self.lengths) <= embedding_dim,
            f"dims must be at most the embedding's {embedding_dim}",
            self.lengths,
        )
        return super().head(classes, embedding_dim)

    def get_config(self):
        serialized = keras.saving.serialize_keras_object(self.loss)
        return {"loss": serialized, "dims": self.lengths, "weights": self.weights}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "loss": keras.saving.deserialize_keras_object(config["loss"])})
