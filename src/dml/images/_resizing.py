"""Resizing and cropping to squares."""


def resized(image, size):
    """Returns uint8 (size, size, 3): averages where it shrinks, interpolates where it grows.

    Sides that shrink to a quarter or less are halved first, which is several times as fast.
    Halves and then interpolation would be faster still (why not: docs/decisions/0014).

    Raises:
        ValueError: The size is not positive.
    """
    import cv2

    if size < 1:
        raise ValueError(f"an image's side must be at least 1; got {size}")
    height, width = image.shape[:2]
    while max(height, width) >= 4 * size:
        height, width = (-(-n // 2) if n >= 4 * size else n for n in (height, width))
        image = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
    shrinks = height > size or width > size
    return cv2.resize(
        image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    )


def centre_square(image, size):
    """Returns the middle square of an image, its short side resized to `size`."""
    height, width = image.shape[:2]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return resized(image[top : top + side, left : left + side], size)


def square(image, side, aspect):
    """Returns what an encoder wants to see: uint8 (side, side, 3).

    Args:
        image: Uint8 (H, W, 3).
        side: In pixels; positive.
        aspect: `keep` takes the middle square, `stretch` the whole image.
    """
    return resized(image, side) if aspect == "stretch" else centre_square(image, side)
