"""The encoder protocol, for any runtime, and the square images that an encoder takes."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from dml._options import check_known
from dml.errors import OptionError

ASPECTS = ("keep", "stretch")
LARGEST = 8192  # pixels of a square's side


class Encoder(Protocol):
    """Embeds images: a Keras model of `dml.build_encoder`, or a `dml.OnnxEncoder`."""

    @property
    def output_shape(self) -> Any:
        """(None, D), where D is the dimension of the embeddings."""
        ...

    def predict_on_batch(self, x: np.ndarray, /) -> Any:
        """Returns the float32 unit vectors (B, D) of uint8 images (B, H, W, 3)."""
        ...


@dataclass(frozen=True)
class Preparation:
    """The size and the crop of the squares that an encoder resizes images to.

    Args:
        resize_side: Side in pixels that the image is resized to; at most 8192.
        input_size: Side in pixels of the centre that the network sees; in [1, resize_side].
        aspect: `keep` resizes the shorter side to `resize_side` and cuts off the ends of the
            longer one; `stretch` resizes both.

    Raises:
        OptionError: An option is out of its range.
    """

    resize_side: int
    input_size: int
    aspect: str

    def __post_init__(self):
        sides = self.input_size, self.resize_side
        if not all(type(side) is int for side in sides) or not 1 <= sides[0] <= sides[1] <= LARGEST:
            raise OptionError(
                "input_size",
                f"and resize_side must be 1 <= input_size <= resize_side <= {LARGEST}; got {sides}",
            )
        check_known(ASPECTS, aspect=self.aspect)


def preparation_of(encoder: Encoder) -> Preparation:
    """Returns the size and the crop of the squares that an encoder resizes images to.

    Raises:
        OptionError: It is neither a model of `dml.build_encoder` nor an `OnnxEncoder`.
    """
    found = getattr(encoder, "preparation", None)
    if isinstance(found, Preparation):
        return found
    try:
        layer = encoder.get_layer("prepare")  # pyright: ignore[reportAttributeAccessIssue]
    except (AttributeError, ValueError):  # not a Keras model, or one without such a layer
        raise OptionError(
            "encoder",
            "must be a model of dml.build_encoder or a dml.OnnxEncoder: it has no layer 'prepare'",
        ) from None
    return Preparation(layer.resize_side, layer.input_size, layer.aspect)
