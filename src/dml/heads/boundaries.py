"""Learned boundaries between near and far, one for each class or for all."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("dml")
class BoundaryHead(keras.layers.Layer):
    """Appends the learned boundary of each sample's class to its embedding.

    Args:
        classes: C, each with its own boundary; 0 gives all classes a common one.
        initial: Initial value of every boundary, in units of the distance.

    Call arguments:
        embeddings: Floats (B, D).
        labels: Integers (B,), each in [0, classes); not read for a common boundary.

    Returns:
        Float32 (B, D + 1), the boundary as the last column.
    """

    def __init__(self, classes, initial, **layer_options):
        super().__init__(**{"name": "head", **layer_options, "dtype": "float32"})
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
        boundaries = ops.convert_to_tensor(self.boundaries)
        rows = labels if self.classes else ops.zeros_like(embeddings[:, 0], dtype="int32")
        own = ops.take(boundaries, rows)
        return ops.concatenate([embeddings, own[:, None]], axis=1)

    def get_config(self):
        return {**super().get_config(), "classes": self.classes, "initial": self.initial}
