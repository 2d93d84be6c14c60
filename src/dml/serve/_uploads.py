"""Checks of an uploaded image before any of its pixels are decoded."""

from itertools import islice

from starlette.requests import Request

from dml.images._files import FORMATS
from dml.images._headers import PNG, png_chunks, read_header

KNOWN = ", ".join(sorted(set(FORMATS.values())))
JPEG = b"\xff\xd8"
QUICK = 25_000_000  # pixels times scans that are decoded in less than a third of a second
PNG_COST = 3  # decoding a PNG takes as long as this many scans of a JPEG
MAX_CHUNKS = 1000  # of a PNG; the decoder may print a line for each

REQUEST_BODY = {  # for OpenAPI
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
    """An upload that can't be used as a query.

    Args:
        status: HTTP status, 413 or 415.
        text: The reason.
    """

    def __init__(self, status: int, text: str):
        super().__init__(status, text)
        self.status = status

    def __str__(self):
        return self.args[1]


async def read_upload(request: Request) -> bytes:
    """Returns the bytes of the image in a request: its body, or the field `image` of a form.

    File names and content types are ignored.

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


def check_header(data: bytes, max_pixels: int) -> None:
    """Checks that bytes are an image of a supported format and not too large.

    Args:
        data: Bytes.
        max_pixels: Width times height.

    Raises:
        UploadError: 415 or 413.
    """
    if not data:
        raise UploadError(415, "the file is empty")
    header = read_header(data)
    if header is None:
        raise UploadError(415, f"not an image in a supported format ({KNOWN})")
    if header.width * header.height > max_pixels:
        size = f"{header.width} x {header.height}"
        limit = f"{max_pixels / 1e6:g} million pixels"
        raise UploadError(413, f"{size}: an image may have at most {limit}")


def is_quick(data: bytes) -> bool:
    """Returns whether decoding is quick: a JPEG or PNG of few pixels, scans and chunks.

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
        few = len(list(islice(png_chunks(data), MAX_CHUNKS + 1))) <= MAX_CHUNKS
        cost = PNG_COST if few else QUICK
    return header.width * header.height * cost <= QUICK
