"""Images small enough to be embedded in a page."""

import base64

import cv2
import numpy as np
import simplejpeg

from dml.errors import ArrayError

SIDE = 128  # pixels; shown at most at this size, so also sharp enough on a dense screen
QUALITY = 78


def thumbnail_uri(image: np.ndarray, side: int = SIDE) -> str:
    """Returns the centre square of an image as a JPEG data URI.

    Args:
        image: As `thumbnail` takes it.
        side: Pixels of the result.
    """
    data = jpeg(thumbnail(image, side))
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def jpeg(image: np.ndarray) -> bytes:
    """Returns a uint8 image (H, W, 3) as the bytes of a JPEG."""
    return simplejpeg.encode_jpeg(np.ascontiguousarray(image), quality=QUALITY)


def shrunk(image: np.ndarray, side: int) -> np.ndarray:
    """Returns a whole image with its longer side at most `side` pixels, uint8 (h, w, 3).

    Args:
        image: As `thumbnail` takes it.
        side: Positive.
    """
    image = coloured(image)
    share = min(1.0, side / max(image.shape[:2]))
    height, width = (max(1, round(share * length)) for length in image.shape[:2])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)


def thumbnail(image: np.ndarray, side: int = SIDE) -> np.ndarray:
    """Returns the centre square of an image, uint8 (side, side, 3).

    Args:
        image: uint8 (H, W, 3), (H, W, 1) or (H, W).
        side: Pixels of the result.

    Raises:
        ArrayError: It does not have such a shape or dtype.
    """
    image = coloured(image)
    short = min(image.shape[:2])
    top, left = (image.shape[0] - short) // 2, (image.shape[1] - short) // 2
    square = image[top : top + short, left : left + short]
    shrinking = short > side
    return cv2.resize(
        square, (side, side), interpolation=cv2.INTER_AREA if shrinking else cv2.INTER_LINEAR
    )


def coloured(image: np.ndarray) -> np.ndarray:
    """Returns an image as uint8 (H, W, 3).

    Raises:
        ArrayError: It is not an image.
    """
    image = np.asarray(image)
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if image.ndim == 2:
        image = np.repeat(image[:, :, None], 3, axis=2)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
        raise ArrayError(
            f"an image must be uint8 (H, W, 3) or (H, W); got {image.dtype} {image.shape}"
        )
    return image
