"""Reads one image: a file, a member of a zip or tar, or a character drawn on demand."""

import functools
import os
import struct
import tarfile
import zipfile
import zlib

import numpy as np

from dml.scans import MOST_SCANS, count_scans

# Faults of encoders that every decoder reads past; a truncated file is not among them.
HARMLESS = ("extraneous bytes", "Invalid SOS parameters", "Unknown Adobe color transform")
ENCRYPTED = 1  # the flag of a member
HEADER = struct.Struct("<4s22xHH")  # before a member: signature, lengths of its name and extras


class ImageError(ValueError):
    """An image that can't be read; the message names it and says why."""


def read_image(path, minimum_side=None):
    """Returns the image at a path as uint8 (H, W, 3) RGB, upright. Safe to call from threads.

    Transparency is dropped, grey becomes RGB, 16 bits become 8. Of an animation, the first image. A
    JPEG has at most 100 scans: encoders write about 10, and each costs as much as an image.

    Args:
        path: A file, "ARCHIVE.zip!MEMBER", "SHARD.tar!MEMBER", or "glyph:..." as the data set
            `glyphs` gives them.
        minimum_side: Allows a smaller image whose shorter side is still at least this, in pixels.
            A JPEG is then decoded at a fraction of its size, several times as fast.

    Raises:
        ImageError: There is no such image, or it is truncated, corrupt or of an unknown format.
    """
    path = os.fspath(path)
    if path.startswith("glyph:"):
        return draw(path)
    return decode_image(read_bytes(path), path, minimum_side)


def read_bytes(path):
    """Returns the bytes behind a path of `read_image`; of a drawn image, its pixels.

    Raises:
        ImageError: There are none.
    """
    path = os.fspath(path)
    if path.startswith("glyph:"):
        return draw(path).tobytes()
    archive, mark, member = path.partition(".zip!")
    try:
        if mark:
            return read_zip_member(archive + ".zip", member)
        if ".tar!" in path:
            shard, _, member = path.partition(".tar!")
            start, length = tar_members(shard + ".tar")[member]
            with open(shard + ".tar", "rb") as file:
                file.seek(start)
                return file.read(length)
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except KeyError:
        raise ImageError(f"{path}: the archive has no such member") from None
    except (
        OSError,
        tarfile.TarError,
        zipfile.BadZipFile,
        EOFError,
        RuntimeError,
        zlib.error,
    ) as error:
        # RuntimeError: the archive is encrypted, or compressed in a way that Python lacks.
        raise ImageError(f"{path}: can't be read: {error}") from None


def container(path):
    """Returns the file that holds the image of a path; None for a drawn one."""
    if path.startswith("glyph:"):
        return None
    for suffix in (".zip", ".tar"):
        archive, mark, _ = path.partition(f"{suffix}!")
        if mark:
            return archive + suffix
    return path


def read_zip_member(path, name):
    """Returns the bytes of a member of a zip, on a file handle of its own.

    An open `zipfile.ZipFile` is not for threads: in some releases of Python 3.12 to 3.14 one moves
    the place in the file from which another reads on (python/cpython#127847).
    """
    member = zip_members(path)[name]
    plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
    if not plain or member.flag_bits & ENCRYPTED:  # rare; reads the whole directory again
        with zipfile.ZipFile(path) as archive:
            return archive.read(name)
    with open(path, "rb") as file:
        file.seek(member.header_offset)
        header = file.read(HEADER.size)
        if len(header) < HEADER.size or header[:4] != b"PK\x03\x04":
            raise zipfile.BadZipFile("the archive has changed, or is corrupt")
        _, *lengths = HEADER.unpack(header)
        file.seek(sum(lengths), os.SEEK_CUR)
        data = file.read(member.compress_size)
    if member.compress_type == zipfile.ZIP_DEFLATED:
        data = zlib.decompress(data, -zlib.MAX_WBITS, member.file_size)
    if zlib.crc32(data) != member.CRC:
        raise zipfile.BadZipFile("its checksum is wrong")
    return data


@functools.lru_cache(maxsize=64)
def zip_members(path):
    """Returns {name: `zipfile.ZipInfo`} of a zip."""
    with zipfile.ZipFile(path) as archive:
        return {member.filename: member for member in archive.infolist()}


@functools.lru_cache(maxsize=64)
def tar_members(path):
    """Returns {name: (first byte, length)} of the files in an uncompressed tar, in order."""
    with tarfile.open(path, "r:") as archive:
        return {m.name: (m.offset_data, m.size) for m in archive if m.isfile()}


def decode_image(data, path, minimum_side=None):
    """Returns the image in `data`, the bytes of `path`, as `read_image` does."""
    if data[:2] == b"\xff\xd8":
        image = decode_jpeg(data, path, minimum_side)
    else:
        image = decode_other(data, path)
    if image is None:
        kind = "empty file" if not data else "not an image, or corrupt or truncated"
        raise ImageError(f"{path}: {kind}")
    return image


def decode_jpeg(data, path, minimum_side):
    """Returns the JPEG's pixels, None where another decoder can't read it either."""
    import simplejpeg

    if count_scans(data) > MOST_SCANS:
        raise ImageError(f"{path}: a JPEG of more than {MOST_SCANS} scans, which is not decoded")

    side = {}
    if minimum_side:  # at half its size or less: seven eighths take longer than the whole
        side = {"min_height": minimum_side, "min_width": minimum_side, "min_factor": 2}
    try:
        image = simplejpeg.decode_jpeg(data, strict=True, **side)
    except ValueError as error:
        reason = str(error)
        if "color conversion" in reason.lower():  # CMYK, which libjpeg leaves to the caller
            return decode_other(data, path)
        harmless = any(fault in reason for fault in HARMLESS) and b"\xff\xd9" in data[-4096:]
        try:
            image = simplejpeg.decode_jpeg(data, strict=False, **side) if harmless else None
        except ValueError:  # there was another fault behind the harmless one
            image = None
        if image is None:
            raise ImageError(f"{path}: truncated or corrupt JPEG: {reason}") from None
    return upright(image, orientation(data))


def decode_other(data, path):
    """Returns the pixels of any format that OpenCV knows, or None."""
    import cv2

    if not data or (data[:8] == b"\x89PNG\r\n\x1a\n" and b"IEND" not in data):
        return None
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(f"{path}: {error.err}") from None


def orientation(data):
    """Returns the EXIF orientation of a JPEG, 1 to 8; 1 where it has none."""
    start = data.find(b"Exif\0\0", 0, 4096) + 6
    if start < 6:
        return 1
    order = {b"II": "little", b"MM": "big"}.get(data[start : start + 2])
    if order is None:
        return 1
    number = functools.partial(int.from_bytes, byteorder=order)
    entry = start + number(data[start + 4 : start + 8])
    for _ in range(number(data[entry : entry + 2])):
        if number(data[entry + 2 : entry + 4]) == 0x0112:
            value = number(data[entry + 10 : entry + 12])
            return value if 1 <= value <= 8 else 1
        entry += 12
        if entry > len(data):
            break
    return 1


def upright(image, code):
    """Returns the image turned and mirrored as its EXIF orientation says."""
    if code == 1:
        return image
    if code in (5, 6, 7, 8):
        image = image.transpose(1, 0, 2)
    if code in (3, 4, 7, 8):
        image = image[::-1]
    if code in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


def resized(image, size):
    """Returns uint8 (size, size, 3): averages where it shrinks, interpolates where it grows.

    Sides that shrink to a quarter or less are halved first, which is several times as fast.
    Halves and then interpolation would be faster still (why not: docs/decisions/0014).
    """
    import cv2

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


def draw(path):
    """Returns the character that "glyph:seed=0,size=64,class=3,sample=7" describes.

    Raises:
        ImageError: It describes none.
    """
    from dml import strokes

    try:
        options = dict(part.split("=") for part in path.removeprefix("glyph:").split(","))
        size, seed = int(options["size"]), int(options["seed"])
        return strokes.render(int(options["class"]), int(options["sample"]), size, seed)
    except (KeyError, ValueError):
        raise ImageError(
            f"{path}: expected glyph:seed=N,size=N,class=N,sample=N with a size of at least 8"
        ) from None
