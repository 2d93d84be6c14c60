"""Proxies whose output has, next to the cosines, a property of each image or of the training."""

import keras
from keras import ops

from dml.heads.proxies import ProxyHead
from dml.ops import is_relation, own_column, row_shares, unit_length


@keras.saving.register_keras_serializable("dml")
class LengthHead(ProxyHead):
    """Adds the length of each embedding, before normalisation, as the last column.

    Takes the arguments of `ProxyHead`.

    Call arguments:
        embeddings: Floats (B, D), of any length.
        labels: Unused.
        training: Unused.

    Returns:
        Float32 (B, C + 1).
    """

    def call(self, embeddings, labels=None, training=False):
        """Returns cosines and lengths, float32 (B, C + 1), of float embeddings (B, D)."""
        cosines = super().call(unit_length(embeddings))
        return ops.concatenate([cosines, _lengths_of(embeddings)], axis=1)


@keras.saving.register_keras_serializable("dml")
class ProxyLengthHead(ProxyHead):
    """Adds the length of each proxy to the cosines, so that it affects the loss and is learned.

    Takes the arguments of `ProxyHead`.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Unused.
        training: Unused.

    Returns:
        Float32 (B, C, 2): cosines and lengths.
    """

    def call(self, embeddings, labels=None, training=False):
        """Returns cosines and lengths, float32 (B, C, 2), of float embeddings (B, D)."""
        cosines = super().call(embeddings)
        lengths = _lengths_of(ops.convert_to_tensor(self.proxies)[:, 0])[:, 0]
        return ops.stack([cosines, ops.ones_like(cosines) * lengths], axis=2)


def _lengths_of(embeddings):
    """Returns the lengths (B, 1), with gradient 0 at zero."""
    squares = ops.sum(ops.square(ops.cast(embeddings, "float32")), axis=1, keepdims=True)
    return ops.sqrt(ops.maximum(squares, 1e-12))


@keras.saving.register_keras_serializable("dml")
class QualityHead(ProxyHead):
    """Adds each embedding's length relative to recent ones: AdaFace's measure of quality.

    Takes the arguments of `ProxyHead`.

    Call arguments:
        embeddings: Floats (B, D), of any length.
        labels: Unused.
        training: Whether the batch updates the running mean and deviation.

    Returns:
        Float32 (B, C + 1); the last column is (length - mean) / deviation, both running, times
        0.333 and clipped to [-1, 1]; no gradient passes.
    """

    def build(self, input_shape):
        super().build(input_shape)
        # The authors' starting values; h, 0.333, and the momentum, 0.99, are the paper's too.
        for name, value in (("mean", 20.0), ("deviation", 100.0)):
            start = keras.initializers.Constant(value)
            variable = self.add_weight(name=name, shape=(), initializer=start, trainable=False)
            setattr(self, f"length_{name}", variable)

    def call(self, embeddings, labels=None, training=False):
        """Returns cosines and qualities, float32 (B, C + 1), of float embeddings (B, D)."""
        cosines = super().call(unit_length(embeddings))
        lengths = ops.clip(ops.stop_gradient(_lengths_of(embeddings)), 1e-3, 100.0)
        mean, deviation = (
            ops.convert_to_tensor(v) for v in (self.length_mean, self.length_deviation)
        )
        if training:
            mean = 0.99 * mean + 0.01 * ops.mean(lengths)
            deviation = 0.99 * deviation + 0.01 * ops.std(lengths)
            self.length_mean.assign(mean)
            self.length_deviation.assign(deviation)
        quality = ops.clip(0.333 * (lengths - mean) / (deviation + 1e-3), -1.0, 1.0)
        return ops.concatenate([cosines, quality], axis=1)


@keras.saving.register_keras_serializable("dml")
class CurriculumHead(ProxyHead):
    """Adds the running mean of images' cosines to their own proxies: the training's progress.

    Takes the arguments of `ProxyHead`.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Integers (B,), each in [0, classes), or memberships (B, C); read in training.
        training: Whether the batch updates the mean.

    Returns:
        Float32 (B, C + 1); the last column is the same in all rows.
    """

    def build(self, input_shape):
        super().build(input_shape)
        self.progress = self.add_weight(
            name="progress", shape=(), initializer="zeros", trainable=False
        )

    def call(self, embeddings, labels=None, training=False):
        """Returns cosines and progress, float32 (B, C + 1), of float embeddings (B, D)."""
        cosines = super().call(embeddings)
        progress = ops.convert_to_tensor(self.progress)
        if training:
            labels = ops.convert_to_tensor(labels)
            if is_relation(labels):
                own = ops.sum(cosines * row_shares(labels), axis=1)
            else:
                own = own_column(cosines, ops.cast(labels, "int32"))
            progress = 0.99 * progress + 0.01 * ops.stop_gradient(ops.mean(own))
            self.progress.assign(progress)
        column = ops.ones_like(cosines[:, :1]) * progress
        return ops.concatenate([cosines, column], axis=1)


@keras.saving.register_keras_serializable("dml")
class RandomMarginHead(ProxyHead):
    """Adds a number drawn for each image from the normal distribution, in training; else 0.

    Args:
        sizes: As for `ProxyHead`, like the other options.
        seed: Seed of the numbers.

    Call arguments:
        embeddings: Floats (B, D), of length 1.
        labels: Unused.
        training: Whether to draw numbers.

    Returns:
        Float32 (B, C + 1).
    """

    def __init__(self, *sizes, seed=0, **options):
        super().__init__(*sizes, **options)
        self.seed = seed
        self.random = keras.random.SeedGenerator(seed)

    def call(self, embeddings, labels=None, training=False):
        """Returns cosines and numbers, float32 (B, C + 1), of float embeddings (B, D)."""
        cosines = super().call(embeddings)
        shape = (ops.shape(cosines)[0], 1)
        drawn = keras.random.normal(shape, seed=self.random) if training else ops.zeros(shape)
        return ops.concatenate([cosines, drawn], axis=1)

    def get_config(self):
        return {**super().get_config(), "seed": self.seed}
