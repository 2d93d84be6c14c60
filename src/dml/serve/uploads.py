"""Checks of an uploaded image before any of its pixels are decoded."""

from itertools import islice

from dml.images._files import FORMATS
from dml.images._headers import PNG, png_chunks, read_header

KNOWN = ", ".join(sorted(set(FORMATS.values())))
JPEG = b"\xff\xd8"
QUICK = 25_000_000  # pixels, times scans, that are decoded in less than a third of a second
PNG_COST = 3  # scans that take as long as a PNG does
MOST_CHUNKS = 1000  # of a PNG; the decoder may print a line for each

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
    header = read_header(data)
    if header is None:
        raise UploadError(415, f"not an image that can be read ({KNOWN})")
    if header.width * header.height > most_pixels:
        most = f"an image may have at most {most_pixels / 1e6:g} million pixels"
        raise UploadError(413, f"{header.width} x {header.height}: {most}")


def is_quick(data):
    """Returns whether bytes are decoded soon: a JPEG or PNG of few pixels, scans and chunks.

    Decoders of other formats take up to fifty times as long for as many pixels.
    """
    if not data.startswith((JPEG, PNG)):
        return False
    header = read_header(data)
    if header is None:
        return False
    if header.format == "JPEG":
        cost = data.count(b"\xff\xda")  # scans, or more; at once for any length
    else:
        few = len(list(islice(png_chunks(data), MOST_CHUNKS + 1))) <= MOST_CHUNKS
        cost = PNG_COST if few else QUICK
    return header.width * header.height * cost <= QUICK
