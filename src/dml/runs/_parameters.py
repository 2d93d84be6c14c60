"""How many parameters of an encoder a training changes."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dml._storage.run_folder import RunFolder

if TYPE_CHECKING:
    import keras

_SHAPE = {"trained": int, "encoder": int}


@dataclass(frozen=True)
class Parameters:
    """How many parameters of an encoder are trained.

    Statistics of batch normalisation are no parameters.

    Args:
        trained: Those that are trained at any time, with the factors of LoRA; without proxies,
            which are not of the encoder.
        encoder: Those that the encoder has, without the factors of LoRA.
    """

    trained: int
    encoder: int

    @classmethod
    def of(cls, encoder: "keras.Model", *, whole: bool) -> "Parameters":
        """Returns the counts of an encoder that is ready to be trained.

        Args:
            encoder: A model of `dml.build_encoder`.
            whole: Whether all of it is trained, rather than the embedding layer alone.
        """
        from dml.encoding import head_of

        learned = {
            id(weight): weight
            for layer in encoder._flatten_layers()
            for weight in layer._trainable_variables  # whether they are frozen or not
            if not weight.name.startswith("lora_kernel_")
        }
        trained = encoder if whole else head_of(encoder)
        return cls(_count(trained.trainable_weights), _count(learned.values()))

    def __str__(self):
        if self.trained == self.encoder:
            return f"all {_number(self.encoder)} parameters"
        return f"{_number(self.trained)} of {_number(self.encoder)} parameters"


def parameters_of(folder: RunFolder) -> Parameters | None:
    """Returns the counts of a run; None for one without that file."""
    if not folder.parameters.exists():
        return None
    return Parameters(**folder.read_json(folder.parameters, _SHAPE))


def _count(weights: Iterable[Any]) -> int:
    """Returns the number of entries of weights."""
    return sum(math.prod(weight.shape) for weight in weights)


def _number(count: int) -> str:
    """Returns a count as text: "49,216", "2.38 million"."""
    return f"{count:,}" if count < 1e6 else f"{count / 1e6:,.2f} million"
