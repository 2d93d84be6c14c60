"""Reads the headers of images, before any pixels are decoded."""

import functools
import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

from dml.images._scans import EOI, MOST_MARKERS, SOS, segments

PNG = b"\x89PNG\r\n\x1a\n"
MOST_CHUNKS = 100_000  # of a PNG or WebP; later ones are ignored
AVIF = re.compile(rb"avi[fs]")  # a brand of the file
GAP = rb"(?:\s|#[^\n]*\n)+"
# Its kind, width and height; and the largest value, which black and white ones (1, 4) do not have.
PNM = re.compile(
    rb"P([1-6])" + GAP + rb"(\d{1,9})" + GAP + rb"(\d{1,9})\s(?:\s*(?:#[^\n]*\n\s*)*(\d{1,9})\s)?"
)
# Chunks that the pixels depend on, in addition to the critical ones.
DECISIVE = {b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}
GREY = 0  # colour types of PNG
WITH_ALPHA = (4, 6)
APP1 = 0xE1  # of a JPEG: EXIF or XMP
# EXIF orientations by an AVIF's quarter turns to the left, 0 to 3: not mirrored then, mirrored top
# to bottom (axis 0), and left to right (axis 1).
TURNED = {None: (1, 8, 3, 6), 0: (4, 5, 2, 7), 1: (2, 7, 4, 5)}


@dataclass(frozen=True)
class Header:
    """The properties of an image that has not been decoded yet.

    Args:
        format: One of the values of `dml.images._files.FORMATS`.
        width: In pixels, as stored.
        height: In pixels, as stored.
        transparent: Whether some of its pixels may be transparent.
        key: The bytes of the transparent grey in a PNG without an alpha channel, or None.
        depth: Bits of each channel.
        premultiplied: Whether the decoder returns colours multiplied by their alpha.
        orientation: The EXIF orientation, 1 to 8, if the decoder does not apply it.
        lossy: Whether it was, or may have been, compressed in a way that changes its colours.
        unread: Why its pixels are not read, and what to do; empty if they are.
    """

    format: str
    width: int
    height: int
    transparent: bool = False
    key: bytes | None = None
    depth: int = 8
    premultiplied: bool = False
    orientation: int = 1
    lossy: bool = False
    unread: str = ""


def read_header(data: bytes) -> Header | None:
    """Returns the header of an image; None if it is of no known format, or truncated."""
    try:
        if data[:2] == b"\xff\xd8":
            return jpeg_header(data)
        if data[:8] == PNG:
            return png_header(data)
        if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            return webp_header(data)
        if data[:6] in (b"GIF87a", b"GIF89a"):
            return gif_header(data)
        if data[:2] == b"BM":
            return bmp_header(data)
        if data[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
            return tiff_header(data)
        if data[4:8] == b"ftyp" and AVIF.search(data, 8, box_size(data, 0)):
            return avif_header(data)
        if found := PNM.match(data[:4096]):
            kind, width, height, largest = found.groups()
            deep = kind not in b"14" and int(largest or 0) > 255
            return Header("PPM", int(width), int(height), depth=16 if deep else 8)
    except (struct.error, LookupError, ValueError):  # truncated or damaged
        return None
    return None


def jpeg_header(data):
    import simplejpeg

    height, width, *_ = simplejpeg.decode_jpeg_header(data, strict=False)
    return Header("JPEG", int(width), int(height), lossy=True)


def png_header(data):
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    key, transparent = None, colour in WITH_ALPHA
    exif: bytes | memoryview = b""
    for name, body in png_chunks(data):
        if name == b"tRNS":
            transparent = True
            key = bytes(body[:2]) if colour == GREY else None
        elif name == b"eXIf":
            exif = body
        elif name == b"IEND":
            break
    else:
        raise ValueError("the end is missing, or a chunk claims to be longer than the file")
    code = tiff_orientation(exif) if transparent else 1
    return Header("PNG", width, height, transparent, key, depth, orientation=code)


def png_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Yields the (name, body) of a PNG's chunks."""
    return chunks(data, 8, ">I4s", after=4)


def decisive_png(data: bytes) -> bytes:
    """Returns a PNG without chunks that do not affect its pixels, such as texts and profiles.

    Each of them may unpack to a thousand times its size, and libpng prints the contents of invalid
    ones.

    Args:
        data: A PNG that `read_header` accepts.
    """
    view, place = memoryview(data), len(PNG)
    kept: list[bytes | memoryview] = [PNG]
    for name, body in png_chunks(data):
        end = place + 12 + len(body)  # with length, name and checksum
        if name[:1].isupper() or name in DECISIVE:
            kept.append(view[place:end])
        place = end
        if name == b"IEND":
            break
    return b"".join(kept)


def webp_header(data):
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ValueError("truncated")
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(body[at : at + 3], "little") for at in (4, 7))
        transparent = bool(body[0] & 0x10)
    elif kind == b"VP8L":
        bits = struct.unpack_from("<I", body, 1)[0]
        width, height = 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
        transparent = bool(bits >> 28 & 1)
    else:
        width, height = (n & 0x3FFF for n in struct.unpack_from("<HH", body, 6))
        transparent = False
    code = 1
    if transparent:
        parts = (body for name, body in chunks(data, 12, "<4sI", after=0) if name == b"EXIF")
        code = tiff_orientation(bytes(next(parts, b"")).removeprefix(b"Exif\0\0"))
    lossy = not is_lossless_webp(data)
    return Header("WEBP", width, height, transparent, orientation=code, lossy=lossy)


def is_lossless_webp(data):
    """Returns whether the image of a WebP, or the first of its images, is lossless."""
    for name, body in chunks(data, 12, "<4sI", after=0):
        if name == b"ANMF":  # an image of an animation, after its place and duration
            name = bytes(body[16:20])
        if name in (b"VP8 ", b"VP8L", b"ALPH"):  # what has alpha apart is lossy
            return name == b"VP8L"
    return False


def chunks(data, place, form, after):
    """Yields the (name, body) of the chunks from `place` on, each followed by `after` bytes.

    Stops at the first truncated one: decoders would allocate memory for the length that it claims.
    """
    data = memoryview(data)
    for _ in range(MOST_CHUNKS):
        if place + 8 > len(data):
            return
        name, size = struct.unpack_from(form, data, place)
        if isinstance(name, int):  # PNG's length comes first
            name, size = size, name
        if place + 8 + size > len(data):
            return
        yield name, data[place + 8 : place + 8 + size]
        place += 8 + size + (after or size % 2)


def gif_header(data):
    width, height = struct.unpack_from("<HH", data, 6)
    return Header("GIF", width, height, transparent=True)


def bmp_header(data):
    size = struct.unpack_from("<I", data, 14)[0]
    if size == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", data, 18)
    else:
        width, height, _, bits = struct.unpack_from("<iiHH", data, 18)
    return Header("BMP", abs(width), abs(height), transparent=bits == 32)


def tiff_header(data):
    tags = tiff_tags(data)
    width, height = tags[256], tags[257]
    colours, samples, extra = tags.get(262), tags.get(277, 1), tags.get(338)
    alpha = colours == 2 and samples > 3  # RGB, and further samples
    depth = tags.get(258, 8)
    premultiplied = depth == 8 or extra == 1  # libtiff premultiplies 8 bits itself
    unread = ""
    if depth > 16:
        unread = f"a TIFF of {depth} bits per channel, which is not read: save it with 8 or 16"
    elif colours in (0, 1, 3) and samples > 1 and extra in (1, 2):  # OpenCV leaves out the alpha
        alpha = True
        unread = "a grey or indexed TIFF with transparency, which is not read: save it as a PNG"
    return Header(
        "TIFF", width, height, alpha, depth=depth, premultiplied=premultiplied, unread=unread
    )


def tiff_tags(data):
    """Returns {tag: first value} of the integer tags in a TIFF's first directory."""
    order = "<" if data[:1] == b"I" else ">"
    if data[2:4] in (b"+\0", b"\0+"):
        place, count, entry = struct.unpack_from(order + "Q", data, 8)[0], "Q", "HHQ"
    else:
        place, count, entry = struct.unpack_from(order + "I", data, 4)[0], "H", "HHI"
    field = 4 if entry == "HHI" else 8
    tags = {}
    number = struct.unpack_from(order + count, data, place)[0]
    place += struct.calcsize(order + count)
    for _ in range(min(number, 4096)):
        tag, kind, amount = struct.unpack_from(order + entry, data, place)
        value = place + struct.calcsize(order + entry)
        place = value + field
        form = {1: "B", 3: "H", 4: "I", 16: "Q"}.get(kind)
        if form is None:
            continue
        if amount * struct.calcsize(form) > field:  # then the field holds their offset
            value = struct.unpack_from(order + ("I" if field == 4 else "Q"), data, value)[0]
        if value + struct.calcsize(form) <= len(data):
            tags[tag] = struct.unpack_from(order + form, data, value)[0]
    return tags


def avif_header(data):
    place = 0
    while data[place + 4 : place + 8] != b"meta":
        place += box_size(data, place)
    meta = data[place : place + box_size(data, place)]
    sizes = [struct.unpack_from(">II", meta, m.end() + 4) for m in re.finditer(b"ispe", meta)]
    width, height = max(sizes, key=lambda size: size[0] * size[1])  # not of a tile or alpha
    bits = meta[meta.index(b"av1C") + 6]
    depth = 8 + 2 * (bits >> 6 & 1) + 2 * (bits >> 5 & 1)  # high_bitdepth and twelve_bit
    turns, axis = (byte_property(meta, name) for name in (b"irot", b"imir"))
    code = TURNED[None if axis is None else axis & 1][(turns or 0) & 3]
    alpha = b"auxC" in meta
    return Header("AVIF", width, height, alpha, depth=depth, orientation=code, lossy=True)


def byte_property(meta, name):
    """Returns the value of an AVIF's property of one byte; None if it has none."""
    place = meta.find(b"\0\0\0\x09" + name)
    return meta[place + 8] if place >= 0 else None


def box_size(data, place):
    """Returns the length of the box at a place in an AVIF.

    Raises:
        ValueError: There is none.
    """
    size = int.from_bytes(data[place : place + 4], "big")
    if size == 1:
        size = int.from_bytes(data[place + 8 : place + 16], "big")
    if size < 8:
        raise ValueError("not a box, or one without a length")
    return size


def orientation(data: bytes) -> int:
    """Returns the EXIF orientation of a JPEG, 1 to 8; 1 if it has none."""
    for code, start, end in islice(segments(data), MOST_MARKERS):
        if code in (SOS, EOI):
            break
        if code == APP1 and data[start + 2 : start + 8] == b"Exif\0\0":
            return tiff_orientation(data[start + 8 : end])
    return 1


def tiff_orientation(data: bytes | memoryview) -> int:
    """Returns the orientation in EXIF data, which has the structure of a TIFF; 1 if it has none."""
    mark = bytes(data[:2])
    if mark not in (b"II", b"MM"):
        return 1
    number = functools.partial(int.from_bytes, byteorder="little" if mark == b"II" else "big")
    entry = number(data[4:8])
    for _ in range(number(data[entry : entry + 2])):
        if number(data[entry + 2 : entry + 4]) == 0x0112:
            value = number(data[entry + 10 : entry + 12])
            return value if 1 <= value <= 8 else 1
        entry += 12
        if entry > len(data):
            break
    return 1
