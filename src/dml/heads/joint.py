"""Several heads on one embedding, or on its first entries."""

import keras
from keras import ops

from dml.errors import OptionError
from dml.heads.base import Head
from dml.ops import unit_length


@keras.saving.register_keras_serializable("dml")
class JointHead(Head):
    """Gives each of several losses its input, through its own head.

    Args:
        heads: Heads, or None for a loss that reads the embeddings. All are given the same labels.
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

    Raises:
        OptionError: A head is another layer, or has labels of its own in each step.
    """

    reads_samples = True

    def __init__(self, heads, dims, **layer_options):
        super().__init__(**layer_options)
        self.heads = list(heads)
        self.dims = list(dims)
        for number, head in enumerate(self.heads):
            Head.check(head)
            if head is None:
                continue
            if type(head).step_labels is not Head.step_labels:
                raise OptionError(
                    "heads", f"must take the labels as they are, and {type(head).__name__} does not"
                )
            head.name = f"head_{number}"  # distinguishes their variables in a saved file
        self.classes = max((head.classes for head in self._present()), default=0)

    def _present(self):
        return [head for head in self.heads if head is not None]

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
                known = {"samples": samples, "related": related} if head.reads_samples else {}
                x = head(x, labels, training=training, **known)
            results.append(x)
        return results

    def prepare_step(self, targets):
        for head in self._present():
            head.prepare_step(targets)

    def finish_step(self):
        for head in self._present():
            head.finish_step()

    def get_config(self):
        heads = [h and keras.saving.serialize_keras_object(h) for h in self.heads]
        return {**super().get_config(), "heads": heads, "dims": self.dims}

    @classmethod
    def from_config(cls, config):
        heads = [h and keras.saving.deserialize_keras_object(h) for h in config["heads"]]
        return cls(**{**config, "heads": heads})
