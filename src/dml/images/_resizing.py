"""Resizing and cropping to squares."""

import numpy as np

from dml._options import check_at_least


def resized(image: np.ndarray, size: int) -> np.ndarray:
    """Returns uint8 (size, size, 3), by area averaging to shrink and interpolation to enlarge.

    Sides that shrink to a quarter or less are halved first, which is several times as fast.
    Halving and then interpolating would be even faster (docs/decisions/0014 explains why not).

    Raises:
        OptionError: The size is not positive.
    """
    import cv2

    check_at_least(1, size=size)
    height, width = image.shape[:2]
    while max(height, width) >= 4 * size:
        height, width = (-(-n // 2) if n >= 4 * size else n for n in (height, width))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    # One after the other: OpenCV averages no areas where one of the sides grows.
    if height > size or width > size:
        shrunk = min(width, size), min(height, size)
        image = cv2.resize(image, shrunk, interpolation=cv2.INTER_AREA)
    if height < size or width < size:
        image = cv2.resize(image, (size, size), interpolation=cv2.INTER_LINEAR)
    return image


def centre_square(image: np.ndarray, size: int) -> np.ndarray:
    """Returns the middle square of an image, its short side resized to `size`."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(image[top : top + side, left : left + side], size)


def square(image: np.ndarray, side: int, aspect: str) -> np.ndarray:
    """Returns the square that an encoder takes: uint8 (side, side, 3).

    Args:
        image: Uint8 (H, W, 3).
        side: In pixels; positive.
        aspect: `keep` takes the middle square, `stretch` the whole image.
    """
    return resized(image, side) if aspect == "stretch" else centre_square(image, side)
