"""The base class of augmentations and their registry."""

from typing import TYPE_CHECKING

import numpy as np

from dml._registry import Registry

if TYPE_CHECKING:
    import keras

AUGMENTATIONS = Registry("augmentation")


class Augmentation:
    """Changes images in two steps: geometry in the reading threads, colours on the device.

    Subclasses are frozen dataclasses whose fields are the options.
    """

    def crop(self, image: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        """Returns a square of one image; a pure function, called in several threads.

        Args:
            image: Uint8 (H, W, 3), its short side at least `decode_side(size)` unless the file has
                less.
            size: Side of the square in pixels.
            generator: The only source of randomness.

        Returns:
            Uint8 (size, size, 3).
        """
        raise NotImplementedError

    def decode_side(self, size: int) -> int:
        """Returns the smallest short side in pixels that an image must be decoded at.

        Args:
            size: Side of the square in pixels.
        """
        return size

    def layers(self, seed: int | None = None) -> "list[keras.Layer]":
        """Returns the Keras layers that change a batch, in order; none by default.

        They take uint8 or floats (B, H, W, 3) in 0..255 and return float32 in 0..255, changed
        only in training.

        Args:
            seed: At least 0. None draws one from the seed of `keras.utils.set_random_seed`.
        """
        return []
