"""Random crops and flips of single images."""

import math

import cv2
import numpy as np


def random_area(
    shape: tuple[int, ...],
    area: tuple[float, float],
    ratio: tuple[float, float],
    generator: np.random.Generator,
) -> tuple[slice, slice]:
    """Draws a rectangle of random area, aspect and position within an image.

    Args:
        shape: (H, W, ...) of the image.
        area: (low, high) share of the image's area.
        ratio: (low, high) of width over height, drawn uniformly on a logarithmic scale.
        generator: The source of randomness.

    Returns:
        Slices of rows and columns. If ten draws do not fit into the image, the largest part of it
        that has an aspect within `ratio`.
    """
    height, width = shape[:2]
    low, high = math.log(ratio[0]), math.log(ratio[1])
    for _ in range(10):
        target = height * width * generator.uniform(*area)
        aspect = math.exp(generator.uniform(low, high))
        rows, columns = round(math.sqrt(target / aspect)), round(math.sqrt(target * aspect))
        if 0 < rows <= height and 0 < columns <= width:
            break
    else:
        rows, columns = min(height, round(width / ratio[0])), min(width, round(height * ratio[1]))
        rows, columns = max(rows, 1), max(columns, 1)
    top = int(generator.integers(height - rows + 1))
    left = int(generator.integers(width - columns + 1))
    return slice(top, top + rows), slice(left, left + columns)


def randomly_flipped(
    image: np.ndarray, probability: float, generator: np.random.Generator
) -> np.ndarray:
    """Returns the image, flipped left to right with a probability."""
    return cv2.flip(image, 1) if generator.random() < probability else np.ascontiguousarray(image)
