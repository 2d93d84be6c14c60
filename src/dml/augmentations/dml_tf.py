"""The augmentation that the README of dml-tf describes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dml._options import check_at_least, check_within
from dml.augmentations._colour import colour_layers
from dml.augmentations._geometry import randomly_flipped
from dml.augmentations.base import AUGMENTATIONS, Augmentation
from dml.images._resizing import resized

if TYPE_CHECKING:
    import keras


@AUGMENTATIONS.register("dml-tf")
@dataclass(frozen=True)
class DmlTf(Augmentation):
    """Resizes the short side to 256, crops a random square of 224, flips and changes colours.

    Other sizes are scaled in proportion. Two things differ from that code: the image keeps its
    aspect, as in evaluation, and random numbers are drawn for each image, where dml-tf draws once
    for a whole run whether to flip, recolour or cut out.

    Args:
        resize: Short side in pixels before a square of 224 is cropped. At least 224.
        flip: Probability of flipping left to right. In [0, 1].
        hue: Largest rotation, as a share of the colour circle. In [0, 0.5].
        brightness: Largest shift, as a share of the range of values. In [0, 1].
        contrast: Largest change of the distance from the mean colour, as a share. In [0, 1].
        cutout: Probability of a grey rectangle, its sides up to 58/224 of the image's. In [0, 1].

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> image = np.zeros((48, 64, 3), "uint8")
        >>> dml.augmentations.DmlTf().crop(image, 32, np.random.default_rng(0)).shape
        (32, 32, 3)
    """

    resize: int = 256
    flip: float = 0.5
    hue: float = 0.1
    brightness: float = 0.1
    contrast: float = 0.1
    cutout: float = 0.5

    def __post_init__(self):
        check_at_least(224, resize=self.resize)
        check_within(0, 0.5, hue=self.hue)
        check_within(
            0,
            1,
            flip=self.flip,
            brightness=self.brightness,
            contrast=self.contrast,
            cutout=self.cutout,
        )

    def crop(self, image: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        height, width = image.shape[:2]
        side = max(round(min(height, width) * 224 / self.resize), 1)
        top = int(generator.integers(height - side + 1))
        left = int(generator.integers(width - side + 1))
        square = resized(image[top : top + side, left : left + side], size)
        return randomly_flipped(square, self.flip, generator)

    def decode_side(self, size: int) -> int:
        return -(-size * self.resize // 224)

    def layers(self, seed: int | None = None) -> "list[keras.Layer]":
        return colour_layers(
            hue=self.hue,
            brightness=self.brightness,
            contrast=self.contrast,
            erase=self.cutout,
            erased_area=(58 / 224) ** 2,
            seed=seed,
        )
