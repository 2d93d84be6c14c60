"""Small affine changes, for characters and drawings."""

import math
from dataclasses import dataclass

import cv2
import numpy as np

from dml.augmentations.base import AUGMENTATIONS, Augmentation, check_share
from dml.images._resizing import centre_square


@AUGMENTATIONS.register("glyphs")
@dataclass(frozen=True)
class GlyphWarp(Augmentation):
    """Turns, scales, slants and shifts a drawing a little; never mirrors it.

    Mirrored or strongly turned, a character is another one. What comes in from outside repeats the
    border.

    Args:
        turn: Largest turn in degrees. In [0, 180].
        zoom: Largest change of width and of height, each as a share. In [0, 1).
        slant: Largest shift of the upper against the lower edge, as a share of the side. In [0, 1].
        shift: Largest shift along each axis, as a share of the side. In [0, 1].
    """

    turn: float = 10.0
    zoom: float = 0.15
    slant: float = 0.15
    shift: float = 0.08

    def __post_init__(self):
        if not 0 <= self.turn <= 180:
            raise ValueError(f"turn must be in [0, 180]; got {self.turn}")
        check_share(zoom=self.zoom, slant=self.slant, shift=self.shift)
        if self.zoom == 1:
            raise ValueError("zoom must be below 1; got 1")

    def crop(self, image, size, generator):
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
