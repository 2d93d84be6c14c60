"""A memory of the embeddings of earlier batches."""

import keras
from keras import ops

from dml._options import check_integer
from dml.errors import ArrayError
from dml.heads.base import Head


@keras.saving.register_keras_serializable("dml")
class MemoryHead(Head):
    """Keeps the newest embeddings and their labels; checkpoints include them.

    `call` returns the memory before the batch and then, in training, replaces the oldest entries by
    the batch, so that a batch is never compared with itself. Batches may differ in size; of a batch
    larger than the memory, the last `size` entries are kept.

    Args:
        size: Number of embeddings that are kept; positive.
        embedding_dim: D, the length of an embedding; positive.

    Call arguments:
        embeddings: Floats (B, D).
        labels: Integers (B,). Not read where `related` is given.
        samples: Int32 (B,), at least 0: the index of each image; None if unknown.
        related: Floats (B, N) instead of labels: the relation of each image to all training images,
            NaN where unknown; column j belongs to sample j.
        training: Whether the batch is added to the memory.

    Returns:
        A dictionary: `embeddings` (B, D), `memory` (size, D), `memory_labels` (size,), `labelled`
        (size,), where the memory holds an image with a label (nowhere outside training, where the
        classes are others), `twins` (B, size), where the memory holds the same image, `steps` (),
        how many batches were remembered before; and if `related` was given, `memory_relation`
        (B, size), NaN where nothing is remembered and everywhere outside training.

    Raises:
        OptionError: A size is not positive.
        ArrayError: Labels are a relation of the batch alone.
    """

    reads_samples = True

    def __init__(self, size, embedding_dim, **layer_options):
        super().__init__(**layer_options)
        self.size = size
        self.embedding_dim = embedding_dim
        check_integer(1, size=self.size, embedding_dim=self.embedding_dim)

    def build(self, input_shape):
        def state(name, shape, initializer, dtype):
            return self.add_weight(
                name=name, shape=shape, initializer=initializer, dtype=dtype, trainable=False
            )

        self.memory = state("memory", (self.size, self.embedding_dim), "zeros", "float32")
        nothing = keras.initializers.Constant(-1)
        self.memory_labels = state("memory_labels", (self.size,), nothing, "int32")
        self.memory_samples = state("memory_samples", (self.size,), nothing, "int32")
        self.steps = state("steps", (), "zeros", "int32")
        self.labelled = state("labelled", (self.size,), "zeros", "int32")  # 1 for true
        self.place = state("place", (), "zeros", "int32")  # of the oldest: the next is put there
        super().build(input_shape)

    def call(self, embeddings, labels, samples=None, related=None, training=False):
        """Returns float embeddings (B, D) and the memory before them, a dictionary of arrays."""
        if related is None and len(labels.shape) != 1:
            raise ArrayError(
                "a memory needs labels, one class for each sample, or a relation to all training "
                'images, {"related": (B, N), "samples": (B,)}; got a relation within the batch'
            )
        unknown = ops.full(ops.shape(embeddings)[:1], -1, "int32")
        labels = unknown if related is not None else labels
        labelled = ops.full(ops.shape(embeddings)[:1], int(related is None), "int32")
        samples = unknown if samples is None else ops.cast(samples, "int32")
        known = ops.copy(self.memory_samples)
        # Copies, because torch remembers in place.
        before = {
            "embeddings": embeddings,
            "memory": ops.copy(self.memory),
            "memory_labels": ops.copy(self.memory_labels),
            "labelled": (ops.copy(self.labelled) > 0) & bool(training),
            "twins": (samples[:, None] == known[None, :]) & (known >= 0)[None, :],
            "steps": ops.copy(self.steps),
        }
        if related is not None:
            relation = ops.take(related, ops.maximum(known, 0), axis=1)  # (B, size)
            usable = (known >= 0) & bool(training)
            before["memory_relation"] = ops.where(usable[None, :], relation, float("nan"))
        if training:
            self.remember(ops.stop_gradient(embeddings), labels, labelled, samples)
        return before

    def remember(self, embeddings, labels, labelled, samples):
        """Puts a batch in the place of the oldest.

        Args:
            embeddings: Floats (B, D).
            labels: Integers (B,).
            labelled: Int32 (B,), 1 where the label is known.
            samples: Int32 (B,).
        """
        count = ops.shape(embeddings)[0]
        newest = slice(-self.size, None)  # all, of a batch that is no larger
        order = ops.arange(count, dtype="int32")[newest]
        places = ops.mod(ops.copy(self.place) + order, self.size)[:, None]
        for known, rows in (
            (self.memory, embeddings),
            (self.memory_labels, ops.cast(labels, "int32")),
            (self.labelled, labelled),
            (self.memory_samples, samples),
        ):
            known.assign(ops.scatter_update(known, places, rows[newest]))
        self.place.assign(ops.mod(self.place + count, self.size))
        self.steps.assign(self.steps + 1)

    def get_config(self):
        return {
            **super().get_config(),
            "size": self.size,
            "embedding_dim": self.embedding_dim,
        }
