"""Checks of an uploaded image before any of its pixels are decoded."""

import io
import warnings

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


class UploadError(ValueError):
    """An upload that is no image to search with; says why, and the HTTP status.

    Args:
        status: 413 or 415.
        text: For the user.
    """

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def check_header(data, most_pixels):
    """Refuses bytes that are no image of a known format, or one of too many pixels.

    Args:
        data: Bytes.
        most_pixels: Width times height.

    Raises:
        UploadError: 415 or 413.
    """
    from PIL import Image

    if not data:
        raise UploadError(415, "the file is empty")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pixels: they are checked below
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
    except Image.DecompressionBombError:
        raise UploadError(413, too_many(most_pixels)) from None
    except Exception:  # Pillow raises many types for damaged headers
        known = ", ".join(FORMATS)
        raise UploadError(415, f"not an image that can be read ({known})") from None
    if width * height > most_pixels:
        raise UploadError(413, f"{width} x {height}: {too_many(most_pixels)}")


def too_many(most_pixels):
    return f"an image may have at most {most_pixels / 1e6:g} million pixels"
