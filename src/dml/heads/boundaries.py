"""Learned boundaries between near and far, one for each class or for all."""

import keras
from keras import ops

from dml.heads.base import Head
from dml.ops import has_column


@keras.saving.register_keras_serializable("dml")
class BoundaryHead(Head):
    """Appends the learned boundary of each sample's class to its embedding.

    Args:
        classes: C, each with its own boundary; 0 gives all classes a common one.
        initial: Initial value of every boundary, in units of the distance.

    Call arguments:
        embeddings: Floats (B, D).
        labels: Integers (B,); not read for a common boundary. Those outside of [0, classes), in
            evaluation, get the mean of all boundaries.
        training: Unused.

    Returns:
        Float32 (B, D + 1), the boundary as the last column.
    """

    def __init__(self, classes, initial, **layer_options):
        super().__init__(**layer_options)
        self.classes = classes
        self.initial = initial

    def build(self, input_shape):
        self.boundaries = self.add_weight(
            name="boundaries",
            shape=(max(self.classes, 1),),
            initializer=keras.initializers.Constant(self.initial),
        )
        super().build(input_shape)

    def call(self, embeddings, labels, training=False):
        """Returns float embeddings (B, D) with their boundaries, float32 (B, D + 1)."""
        boundaries = ops.convert_to_tensor(self.boundaries)
        if not self.classes:
            own = ops.ones_like(embeddings[:, 0]) * boundaries
        else:
            known = has_column(labels, self.classes)
            own = ops.take(boundaries, ops.where(known, labels, 0))
            own = ops.where(known, own, ops.mean(boundaries))
        return ops.concatenate([embeddings, own[:, None]], axis=1)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "initial": self.initial}
