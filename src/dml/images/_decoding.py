"""Decodes one image, whatever its format, within bounds."""

import numpy as np

from dml.errors import DataError
from dml.images._headers import Header, decisive_png, orientation, read_header
from dml.images._scans import MOST_SCANS, count_scans

# Warnings of the decoder about complete files; none of them is about truncation.
HARMLESS = ("extraneous bytes", "Invalid SOS parameters", "Unknown Adobe color transform")
MOST_PIXELS = 2**28
MOST_PACKED = 8 * 1032  # pixels per byte of a PNG: deflate reaches 1032 : 1, at a bit per pixel
ROWS = 256  # composited on white at a time


class ImageError(DataError):
    """An image can't be read.

    Args:
        path: The image as a text that `ImageRef.parse` takes.
        text: The reason.
    """


def decode_image(data: bytes, path: str, minimum_side: int | None = None) -> np.ndarray:
    """Returns the image in `data`, the bytes of `path`, as `dml.images.read_image` does.

    Raises:
        ImageError: It is truncated, corrupt, too large or of an unknown format.
    """
    header = read_header(data)
    if header is None:
        kind = "not an image of a known format, or damaged"
        if data[:2] == b"\xff\xd8":
            kind = "truncated or corrupt JPEG"
        raise ImageError(path, kind if data else "empty file")
    if header.width * header.height > MOST_PIXELS:
        raise ImageError(
            path,
            f"{header.width} x {header.height}: an image may have at most "
            f"{MOST_PIXELS // 10**6} million pixels",
        )
    if header.unread:
        raise ImageError(path, header.unread)
    if header.format == "JPEG":
        image = decode_jpeg(data, path, minimum_side)
    else:
        image = decode_other(data, path, header)
    if image is None:
        raise ImageError(path, f"corrupt or truncated {header.format}")
    return image


def decode_jpeg(data, path, minimum_side):
    """Returns the JPEG's pixels; None if even OpenCV, which decodes CMYK, can't read it."""
    import simplejpeg

    if count_scans(data) > MOST_SCANS:
        raise ImageError(path, f"a JPEG of more than {MOST_SCANS} scans, which is not decoded")

    side = {}
    if minimum_side:  # at half its size or less: seven eighths take longer than the full size
        side = {"min_height": minimum_side, "min_width": minimum_side, "min_factor": 2}
    try:
        image = simplejpeg.decode_jpeg(data, strict=True, **side)
    except ValueError as error:
        reason = str(error)
        if "color conversion" in reason.lower():  # CMYK, which libjpeg leaves to the caller
            return decode_other(data, path, Header("JPEG", 0, 0))
        harmless = any(warning in reason for warning in HARMLESS) and b"\xff\xd9" in data[-4096:]
        try:
            image = simplejpeg.decode_jpeg(data, strict=False, **side) if harmless else None
        except ValueError:  # the harmless warning hid an error
            image = None
        if image is None:
            raise ImageError(path, f"truncated or corrupt JPEG: {reason}") from None
    return upright(image, orientation(data))


def decode_other(data, path, header):
    """Returns the pixels of any format that OpenCV knows, on white; None if it can't read them."""
    import cv2

    if header.format == "PNG":
        if header.width * header.height > MOST_PACKED * len(data):
            return None
        data = decisive_png(data)
    data = np.frombuffer(data, np.uint8)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if header.transparent else None
        if image is not None and image.dtype in (np.uint8, np.uint16):
            depth = 8 if image.dtype == np.uint8 else header.depth
            if image.ndim == 3 and image.shape[2] == 4:
                seen = on_white(image, depth, header.premultiplied)
                return upright(seen, header.orientation)
            if image.ndim == 2 and header.key is not None:
                return upright(without_key(image, depth, header), header.orientation)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)  # as EXIF says, but not as an AVIF does
    except cv2.error as error:
        raise ImageError(path, error.err) from None
    if image is None or header.format != "AVIF":
        return image
    return upright(image, header.orientation)


def on_white(image, depth, premultiplied):
    """Returns a transparent image composited on white, uint8 (H, W, 3) RGB.

    Args:
        image: uint8 or uint16 (H, W, 4): blue, green, red and alpha, 0 where transparent.
        depth: Bits of a value, 8 to 16.
        premultiplied: Whether the colours are already multiplied by alpha.
    """
    import cv2

    top = 2**depth - 1
    seen = np.empty((*image.shape[:2], 3), np.uint8)
    for first in range(0, len(image), ROWS):  # so that copies stay small
        part = np.ascontiguousarray(image[first : first + ROWS])
        colour = cv2.cvtColor(part, cv2.COLOR_BGRA2RGB)
        alpha = cv2.cvtColor(np.ascontiguousarray(part[..., 3]), cv2.COLOR_GRAY2RGB)
        if not premultiplied:
            colour = cv2.multiply(colour, alpha, scale=1 / top)
        seen[first : first + ROWS] = cv2.add(colour, top - alpha) >> (depth - 8)
    return seen


def without_key(image, depth, header):
    """Returns a grey image whose transparent grey is replaced by white, uint8 (H, W, 3)."""
    key = int.from_bytes(header.key, "big")
    if header.depth < 8:  # which the decoder scales to 0 to 255
        key = key * 255 // (2**header.depth - 1)
    image = np.where(image == key, 2**depth - 1, image) >> (depth - 8)
    return np.repeat(image.astype(np.uint8)[:, :, None], 3, axis=2)


def upright(image, code):
    """Returns the image rotated and mirrored according to its EXIF orientation."""
    if code == 1:
        return image
    if code in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if code in (3, 4, 7, 8):
        image = image[::-1]
    if code in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)
