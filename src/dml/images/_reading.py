"""Reads one image: a file, a member of a zip or tar, or a character drawn on demand."""

import os

import numpy as np

from dml._storage.archives import read_file, read_tar_member, read_zip_member
from dml.images._headers import Header, decisive_png, orientation, read_header
from dml.images._scans import MOST_SCANS, count_scans

# Faults of encoders that every decoder reads past; a truncated file is not among them.
HARMLESS = ("extraneous bytes", "Invalid SOS parameters", "Unknown Adobe color transform")


MOST_PIXELS = 2**28


MOST_PACKED = 8 * 1032  # pixels in a byte of a PNG: what deflate makes of one, at a bit each


ROWS = 256  # laid on white at a time


class ImageError(ValueError):
    """An image that can't be read; the message names it and says why."""


def read_image(path, minimum_side=None):
    """Returns the image at a path as uint8 (H, W, 3) RGB, upright. Safe to call from threads.

    Transparent images are laid on white, grey becomes RGB, 16 bits become 8. Of an animation, the
    first image. A file has at most 512 MiB, an image 268 million pixels, and a JPEG 100 scans:
    encoders write about 10, and each costs as much as an image.

    Args:
        path: A file, "ARCHIVE.zip!MEMBER", "SHARD.tar!MEMBER", or "glyph:..." as the data set
            `glyphs` gives them.
        minimum_side: Allows a smaller image whose shorter side is still at least this, in pixels.
            A JPEG is then decoded at a fraction of its size, several times as fast.

    Raises:
        ImageError: There is no such image, or it is truncated, corrupt, too large or of an unknown
            format, or what is there is no regular file.
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
    try:
        for suffix, read in {".zip": read_zip_member, ".tar": read_tar_member}.items():
            archive, mark, member = path.partition(f"{suffix}!")
            if mark:
                return read(archive + suffix, member)
        return read_file(path)
    except FileNotFoundError:
        raise ImageError(f"{path}: no such file") from None
    except KeyError:
        raise ImageError(f"{path}: the archive has no such member") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ImageError(f"{path}: can't be read: {reason or error}") from None


def container(path):
    """Returns the file that holds the image of a path; None for a drawn one."""
    if path.startswith("glyph:"):
        return None
    for suffix in (".zip", ".tar"):
        archive, mark, _ = path.partition(f"{suffix}!")
        if mark:
            return archive + suffix
    return path


def decode_image(data, path, minimum_side=None):
    """Returns the image in `data`, the bytes of `path`, as `read_image` does."""
    header = read_header(data)
    if header is None:
        kind = "not an image of a known format, or damaged"
        if data[:2] == b"\xff\xd8":
            kind = "truncated or corrupt JPEG"
        raise ImageError(f"{path}: {kind if data else 'empty file'}")
    if header.width * header.height > MOST_PIXELS:
        raise ImageError(
            f"{path}: {header.width} x {header.height}: an image may have at most "
            f"{MOST_PIXELS // 10**6} million pixels"
        )
    if header.format == "JPEG":
        image = decode_jpeg(data, path, minimum_side)
    else:
        image = decode_other(data, path, header)
    if image is None:
        raise ImageError(f"{path}: corrupt or truncated {header.format}")
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
            return decode_other(data, path, Header("JPEG", 0, 0))
        harmless = any(fault in reason for fault in HARMLESS) and b"\xff\xd9" in data[-4096:]
        try:
            image = simplejpeg.decode_jpeg(data, strict=False, **side) if harmless else None
        except ValueError:  # there was another fault behind the harmless one
            image = None
        if image is None:
            raise ImageError(f"{path}: truncated or corrupt JPEG: {reason}") from None
    return upright(image, orientation(data))


def decode_other(data, path, header):
    """Returns the pixels of any format that OpenCV knows, on white, or None."""
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
        return cv2.imdecode(data, cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        raise ImageError(f"{path}: {error.err}") from None


def on_white(image, depth, premultiplied):
    """Returns what is seen of a transparent image on white, uint8 (H, W, 3) RGB.

    Args:
        image: uint8 or uint16 (H, W, 4): blue, green, red and alpha, 0 where it is invisible.
        depth: Bits that its values have, 8 to 16.
        premultiplied: Whether the colours are multiplied by alpha already.
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
    """Returns a grey image with its transparent grey turned white, uint8 (H, W, 3)."""
    key = int.from_bytes(header.key, "big")
    if header.depth < 8:  # the decoder spreads these over 0 to 255
        key = key * 255 // (2**header.depth - 1)
    image = np.where(image == key, 2**depth - 1, image) >> (depth - 8)
    return np.repeat(image.astype(np.uint8)[:, :, None], 3, axis=2)


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


def draw(path):
    """Returns the character that "glyph:seed=0,size=64,class=3,sample=7" describes.

    Raises:
        ImageError: It describes none.
    """
    from dml.images import _strokes as strokes

    try:
        options = dict(part.split("=") for part in path.removeprefix("glyph:").split(","))
        size, seed = int(options["size"]), int(options["seed"])
        return strokes.render(int(options["class"]), int(options["sample"]), size, seed)
    except (KeyError, ValueError):
        raise ImageError(
            f"{path}: expected glyph:seed=N,size=N,class=N,sample=N with a size of 8 to 4096"
        ) from None
