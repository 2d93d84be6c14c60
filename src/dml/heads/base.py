"""The base class of heads."""

from typing import Any, ClassVar

import keras

from dml.errors import OptionError


class Head(keras.layers.Layer):
    """A layer between embeddings and a loss, with learned parameters or a memory.

    A loss names it in `MetricLoss.head`, and the learner builds, trains and saves it. Subclasses
    implement `build` and `call`. The methods here are for heads that do something around each step
    of a training; by default, nothing.

    Computes in float32 under mixed precision too: cosines differ in the digits that bfloat16 drops.

    Args:
        **layer_options: Those of `keras.layers.Layer`.

    Call arguments:
        embeddings: Floats (B, D), of length 1 unless the loss reads their length.
        labels: Integers (B,), or a matrix where the loss takes one.
        samples: Int32 (B,) or None, the index of each image; only if `reads_samples`.
        related: Floats (B, N) or None, the relation to all training images; only if
            `reads_samples`.
        training: Whether it is a step of a training.

    Returns:
        What the loss reads.

    Attributes:
        classes: Labels in training must be in [0, classes); 0 for any labels.
        reads_samples: Whether `call` takes `samples` and `related`.
    """

    classes: int = 0
    reads_samples: ClassVar[bool] = False

    def __init__(self, **layer_options: Any):
        super().__init__(**{"name": "head", **layer_options, "dtype": "float32"})

    def prepare_step(self, targets: Any) -> None:
        """Called in each step of a training before the embeddings are computed.

        Args:
            targets: Those of the batch, as `Learner.fit` takes them.
        """

    def step_labels(self, labels: Any) -> Any:
        """Returns the labels by which this step's output knows the classes.

        Args:
            labels: As for `call`.
        """
        return labels

    def finish_step(self) -> None:
        """Called in each step of a training after the optimizer has updated the weights."""

    @staticmethod
    def check(layer: Any) -> None:
        """Raises OptionError for a loss whose head is a layer of another kind; None is no head."""
        if layer is not None and not isinstance(layer, Head):
            raise OptionError(
                "loss",
                f"has a head of the class {type(layer).__name__}, which must derive from "
                "dml.heads.Head",
            )
