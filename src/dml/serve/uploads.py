"""Checks of an uploaded image before any of its pixels are decoded."""

import io
import warnings

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF")
QUICK = 25_000_000  # pixels, times scans, that are decoded in less than a third of a second

BODY = {  # for OpenAPI
    "required": True,
    "content": {
        "image/*": {"schema": {"type": "string", "format": "binary"}},
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "properties": {"image": {"type": "string", "format": "binary"}},
                "required": ["image"],
            }
        },
    },
}


class UploadError(ValueError):
    """An upload that is no image to search with; says why, and the HTTP status.

    Args:
        status: 413 or 415.
        text: For the user.
    """

    def __init__(self, status, text):
        super().__init__(status, text)
        self.status = status

    def __str__(self):
        return self.args[1]


async def uploaded(request):
    """Returns the bytes of the image in a request: its body, or the field `image` of a form.

    The name of the file and the type that it is said to be are not looked at.

    Raises:
        UploadError: There is none.
    """
    kind = request.headers.get("content-type", "").lower()
    if not kind.startswith("multipart/form-data"):
        return await request.body()
    async with request.form(max_files=1, max_fields=8) as form:
        image = form.get("image")
        if image is None or isinstance(image, str):
            raise UploadError(415, "the form has no file in its field `image`")
        return await image.read()


def check_header(data, most_pixels):
    """Refuses bytes that are no image of a known format, or one of too many pixels.

    Args:
        data: Bytes.
        most_pixels: Width times height.

    Raises:
        UploadError: 415 or 413.
    """
    if not data:
        raise UploadError(415, "the file is empty")
    width, height = jpeg_size(data) or png_size(data) or size_of(data, most_pixels)
    if width * height > most_pixels:
        raise UploadError(413, f"{width} x {height}: {too_many(most_pixels)}")


def is_quick(data):
    """Returns whether bytes are decoded soon: a JPEG or PNG of few pixels and scans.

    Decoders of other formats take up to fifty times as long for as many pixels.
    """
    if size := jpeg_size(data):
        scans = data.count(b"\xff\xda")  # at least as many as it has; at once for any length
        return size[0] * size[1] * scans <= QUICK
    width, height = png_size(data) or (0, 0)
    return 0 < width * height <= QUICK


def png_size(data):
    """Returns the width and height that a PNG's header names; None where it is no PNG's."""
    if data[:8] != b"\x89PNG\r\n\x1a\n" or data[12:16] != b"IHDR" or len(data) < 24:
        return None
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def jpeg_size(data):
    """Returns the width and height that a JPEG's header names; None where it is no JPEG's."""
    import simplejpeg

    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(data)
    except ValueError:
        return None
    return width, height


def size_of(data, most_pixels):
    """Returns the width and height that an image's header names, as Pillow reads it.

    Raises:
        UploadError: 415 or 413.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pixels: they are checked later
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                return image.size
    except Image.DecompressionBombError:
        raise UploadError(413, too_many(most_pixels)) from None
    except Exception:  # Pillow raises many types for damaged headers
        known = ", ".join(FORMATS)
        raise UploadError(415, f"not an image that can be read ({known})") from None


def too_many(most_pixels):
    return f"an image may have at most {most_pixels / 1e6:g} million pixels"
