"""Parts of images: boxes that are cut out, and masks of what belongs to the object."""

import enum
import math
from dataclasses import dataclass

import numpy as np

_WHITE = 255  # as behind transparent images


class BoxUnit(enum.StrEnum):
    """The unit of a box's coordinates."""

    PIXELS = "pixels"
    SHARES = "shares"


@dataclass(frozen=True)
class Box:
    """A rectangle in an upright image: columns from `x0` to before `x1`, rows `y0` to before `y1`.

    Args:
        x0: Left edge; at least 0.
        y0: Upper edge; at least 0.
        x1: Right edge; above `x0`.
        y1: Lower edge; above `y0`.
        unit: Pixels, of which the box has at least one; or shares of the image's width and height,
            in [0, 1].

    Raises:
        ValueError: A number is not finite or out of its range, or the box is empty.
    """

    x0: float
    y0: float
    x1: float
    y1: float
    unit: BoxUnit = BoxUnit.PIXELS

    def __post_init__(self):
        corners = (self.x0, self.y0, self.x1, self.y1)
        if not all(map(math.isfinite, corners)):
            raise ValueError("must be four finite numbers")
        if self.x1 <= self.x0 or self.y1 <= self.y0:
            raise ValueError("is empty: x0 must be below x1, and y0 below y1")
        if min(corners) < 0:
            raise ValueError("begins outside of the image: no number may be negative")
        if self.unit is BoxUnit.SHARES and max(corners) > 1:
            raise ValueError("ends outside of the image: shares are at most 1")
        if self.unit is BoxUnit.PIXELS and min(self.x1 - self.x0, self.y1 - self.y0) < 1:
            raise ValueError("is less than a pixel wide or high")

    @classmethod
    def parse(cls, text: str) -> "Box":
        """Returns the box that `str` wrote: "pixels=X0,Y0,X1,Y1" or "shares=X0,Y0,X1,Y1".

        Raises:
            ValueError: It is no such text, or of an invalid box.
        """
        unit, _, numbers = text.partition("=")
        x0, y0, x1, y1 = map(float, numbers.split(","))
        return cls(x0, y0, x1, y1, BoxUnit(unit))

    def __str__(self):
        corners = (self.x0, self.y0, self.x1, self.y1)
        return f"{self.unit}={','.join(repr(float(n)).removesuffix('.0') for n in corners)}"

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Returns the part (h, w, 3) of an image (H, W, 3); its edges are rounded to whole pixels.

        Raises:
            ValueError: The box reaches beyond the image, or has no pixel in it.
        """
        height, width = image.shape[:2]
        corners = np.array([self.x0, self.y0, self.x1, self.y1])
        if self.unit is BoxUnit.SHARES:
            corners = corners * [width, height, width, height]
        elif self.x1 > width or self.y1 > height:
            raise ValueError(f"the box ends outside of the image, which is {width} x {height}")
        x0, y0, x1, y1 = np.floor(corners + 0.5).astype(int).tolist()
        if x1 <= x0 or y1 <= y0:
            raise ValueError(f"the box holds no pixel of the image, which is {width} x {height}")
        return np.ascontiguousarray(image[y0:y1, x0:x1])


def masked(image: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns an image in which the pixels that are black in a mask are white.

    Args:
        image: uint8 (H, W, 3).
        mask: uint8 (H, W, 3).

    Raises:
        ValueError: The mask is of another size, or all black.
    """
    if mask.shape != image.shape:
        sizes = [f"{shape[1]} x {shape[0]}" for shape in (mask.shape, image.shape)]
        raise ValueError(f"the mask is {sizes[0]}, and the image {sizes[1]}")
    inside = mask.any(axis=2)
    if not inside.any():
        raise ValueError("the mask is all black: nothing of the image is left")
    return np.where(inside[:, :, None], image, np.uint8(_WHITE))
