"""A running distribution of the difference between a triplet's distances."""

import keras
from keras import ops

from dml.heads._hard_differences import hard_differences
from dml.heads.base import Head
from dml.ops import ratio, relation_of_distinct, soft_histogram


@keras.saving.register_keras_serializable("dml")
class DifferenceHead(Head):
    """Appends the running distribution of hard triplets' differences to the embeddings.

    Args:
        bins: Points of the distribution, evenly from -2 to 2, at least 2.
        momentum: Weight of the newest batch; in (0, 1]. The first batch initialises the
            distribution.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Integers (B,), or a relation (B, B).
        samples: Integers (B,), the index of each image, pairs of which have no difference; negative
            where it is not known, None if none is.
        related: Unused.
        training: Whether the batch updates the distribution.

    Returns:
        Float32 (B, D + bins): each embedding, then the cumulative distribution, in [0, 1].
    """

    reads_samples = True

    def __init__(self, bins, momentum, **layer_options):
        super().__init__(**layer_options)
        self.bins = bins
        self.momentum = momentum

    def build(self, input_shape):
        self.histogram = self.add_weight(
            name="histogram", shape=(self.bins,), initializer="zeros", trainable=False
        )
        super().build(input_shape)

    def call(self, embeddings, labels, samples=None, related=None, training=False):
        """Returns float embeddings (B, D) with the distribution, float32 (B, D + bins)."""
        if samples is not None:
            labels = relation_of_distinct(labels, samples)
        histogram = ops.convert_to_tensor(self.histogram)
        constant = ops.stop_gradient(embeddings)
        newest = self.histogram_of(*hard_differences(constant, labels))
        started, there = ops.sum(histogram) > 0, ops.sum(newest) > 0
        share = ops.where(started, self.momentum, 1.0) * ops.cast(there, "float32")
        mixed = (1.0 - share) * histogram + share * newest
        if training:
            self.histogram.assign(mixed)
        else:
            mixed = ops.where(started, histogram, mixed)
        row = ops.cumsum(mixed)[None, :]
        return ops.concatenate([embeddings, ops.ones_like(embeddings[:, :1]) * row], axis=1)

    def histogram_of(self, differences, mask):
        """Returns the shares (bins,) of differences, each divided between its two nearest bins."""
        x, mask = (ops.reshape(values, (1, -1)) for values in (differences, mask))
        total = soft_histogram(x, mask, -2.0, 2.0, self.bins - 1)[0]
        return ratio(total, ops.sum(total))

    def get_config(self):
        return {**super().get_config(), "bins": self.bins, "momentum": self.momentum}
