"""Several heads on one embedding, or on its first entries."""

import keras
from keras import ops

from dml.ops import unit_length


@keras.saving.register_keras_serializable("dml")
class JointHead(keras.layers.Layer):
    """Gives each of several losses its input, through its own head.

    Args:
        heads: Layers, or None for a loss that reads the embeddings.
        dims: For each, how many of an embedding's first entries it gets, normalised to length 1; 0
            gives all of them, unchanged.

    Call arguments:
        embeddings: Floats (B, D).
        labels: As the heads take them.
        samples: Integers (B,) or None, for heads that read them.
        related: Floats (B, N) or None, for the same heads.
        training: Whether heads update their memory.

    Returns:
        A list of each head's output; for a loss without one, of embeddings, float32 (B, D) or of
        the length in `dims`.
    """

    reads_samples = True

    def __init__(self, heads, dims, **layer_options):
        super().__init__(**{"name": "head", **layer_options, "dtype": "float32"})
        self.heads = list(heads)
        self.dims = list(dims)
        for number, head in enumerate(self.heads):
            if head is not None:  # names distinguish their variables in a saved file
                head.name = f"head_{number}"

    @property
    def classes(self):
        """The classes of the heads that know them; 0 if none does."""
        return next((head.classes for head in self.heads if getattr(head, "classes", 0)), 0)

    def build(self, input_shape):
        for head, dim in zip(self.heads, self.dims, strict=True):
            if head is not None:
                head.build((*input_shape[:-1], dim or input_shape[-1]))
        super().build(input_shape)

    def call(self, embeddings, labels, samples=None, related=None, training=False):
        """Returns what each loss reads of float embeddings (B, D), a list."""
        results = []
        for head, dim in zip(self.heads, self.dims, strict=True):
            x = unit_length(embeddings[:, :dim]) if dim else ops.convert_to_tensor(embeddings)
            if head is not None:
                reads = getattr(head, "reads_samples", False)
                known = {"samples": samples, "related": related} if reads else {}
                x = head(x, labels, training=training, **known)
            results.append(x)
        return results

    def get_config(self):
        heads = [h and keras.saving.serialize_keras_object(h) for h in self.heads]
        return {**super().get_config(), "heads": heads, "dims": self.dims}

    @classmethod
    def from_config(cls, config):
        heads = [h and keras.saving.deserialize_keras_object(h) for h in config["heads"]]
        return cls(**{**config, "heads": heads})
