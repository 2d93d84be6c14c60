"""A memory of the embeddings of earlier batches."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("dml")
class MemoryHead(keras.layers.Layer):
    """Keeps the newest embeddings and their labels, as part of what a checkpoint saves.

    `call` returns the memory as it was before the batch, and then, in training, puts the batch in
    the place of the oldest: a batch never meets itself there.

    Args:
        size: Embeddings that are kept; positive.
        embedding_dim: D, the length of an embedding; positive.

    Call arguments:
        embeddings: Floats (B, D), B at most `size`.
        labels: Integers (B,), at least 0.
        training: Whether the batch is remembered.

    Returns:
        A dictionary: `embeddings` (B, D), `memory` (size, D), `memory_labels` (size,), -1 where
        nothing is remembered yet, and `steps` (), how many batches were remembered before.

    Raises:
        ValueError: A size is not positive, or labels are a relation.
    """

    def __init__(self, size, embedding_dim, **layer_options):
        super().__init__(**{"name": "head", **layer_options, "dtype": "float32"})
        if min(size, embedding_dim) < 1:
            raise ValueError(
                f"size and embedding_dim must be positive; got {size}, {embedding_dim}"
            )
        self.size = size
        self.embedding_dim = embedding_dim

    def build(self, input_shape):
        def state(name, shape, initializer, dtype):
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False
            )

        self.memory = state("memory", (self.size, self.embedding_dim), "zeros", "float32")
        nothing = keras.initializers.Constant(-1)
        self.memory_labels = state("memory_labels", (self.size,), nothing, "int32")
        self.steps = state("steps", (), "zeros", "int32")
        super().build(input_shape)

    def call(self, embeddings, labels, training=False):
        if len(labels.shape) != 1:
            raise ValueError("a memory needs labels, one class for each sample; got a relation")
        # Copies, because torch remembers in place.
        before = {
            "embeddings": embeddings,
            "memory": ops.copy(self.memory),
            "memory_labels": ops.copy(self.memory_labels),
            "steps": ops.copy(self.steps),
        }
        if training:
            self.remember(ops.stop_gradient(embeddings), labels, before)
        return before

    def remember(self, embeddings, labels, before):
        """Puts a batch in the place of the oldest."""
        count, steps = ops.shape(embeddings)[0], before["steps"]
        places = ops.mod(steps * count + ops.arange(count, dtype="int32"), self.size)[:, None]
        self.memory.assign(ops.scatter_update(before["memory"], places, embeddings))
        self.memory_labels.assign(
            ops.scatter_update(before["memory_labels"], places, ops.cast(labels, "int32"))
        )
        self.steps.assign(steps + 1)

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "embedding_dim": self.embedding_dim,
        }
