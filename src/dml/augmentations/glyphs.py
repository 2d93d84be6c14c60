"""Small affine transformations, for characters and drawings."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from dml._options import check_interval, check_within
from dml.augmentations.base import AUGMENTATIONS, Augmentation
from dml.images._resizing import centre_square


@AUGMENTATIONS.register("glyphs")
@dataclass(frozen=True)
class GlyphWarp(Augmentation):
    """Rotates, scales, shears and shifts a drawing slightly; never flips it.

    A flipped or strongly rotated character is a different one. The border is repeated outside the
    image.

    Args:
        turn: Largest rotation in degrees. In [0, 180].
        zoom: Largest change of width and of height, each as a share. In [0, 1).
        slant: Largest shift of the upper edge against the lower one, as a share of the side. In
            [0, 1].
        shift: Largest shift along each axis, as a share of the side. In [0, 1].

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> image = np.zeros((48, 64, 3), "uint8")
        >>> dml.augmentations.GlyphWarp().crop(image, 32, np.random.default_rng(0)).shape
        (32, 32, 3)
    """

    turn: float = 10.0
    zoom: float = 0.15
    slant: float = 0.15
    shift: float = 0.08

    def __post_init__(self):
        check_within(0, 180, turn=self.turn)
        check_interval("[0, 1)", zoom=self.zoom)
        check_within(0, 1, slant=self.slant, shift=self.shift)

    def crop(self, image: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        angle = math.radians(generator.uniform(-self.turn, self.turn))
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
        slant = np.array([[1, generator.uniform(-self.slant, self.slant)], [0, 1]])
        linear = turn @ slant @ np.diag(generator.uniform(1 - self.zoom, 1 + self.zoom, 2))
        middle = np.full(2, (size - 1) / 2)
        shift = size * generator.uniform(-self.shift, self.shift, 2)
        offset = middle + shift - linear @ middle
        return cv2.warpAffine(
            centre_square(image, size),
            np.column_stack([linear, offset]),
            (size, size),
            flags=cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        )
