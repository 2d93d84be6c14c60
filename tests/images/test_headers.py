"""Headers agree with Pillow on the same bytes."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from dml.images._files import FORMATS
from dml.images._headers import decisive_png, orientation, read_header

LETTERS = {
    "PNG": ("1", "L", "LA", "P", "RGB", "RGBA"),
    "GIF": ("P",),
    "PPM": ("L", "RGB"),
    "TIFF": ("L", "LA", "RGB", "RGBA"),
}
ORIENTATION = 0x0112


def written(form, mode="RGB", **options):
    pixels = np.random.default_rng(0).integers(0, 256, (21, 34, 4), dtype="uint8")
    image = Image.fromarray(pixels).convert("RGB" if mode in "1LP" else mode)
    buffer = io.BytesIO()
    image.convert(mode).save(buffer, form, **options)
    return buffer.getvalue()


def images():
    for form in sorted(set(FORMATS.values())):
        for mode in LETTERS.get(form, ("RGB", *(("RGBA",) if form not in ("JPEG", "PPM") else ()))):
            yield form, mode


@pytest.mark.parametrize("form, mode", list(images()))
def test_format_size_and_whether_pixels_may_be_transparent(form, mode):
    data = written(form, mode)
    header = read_header(data)
    known = Image.open(io.BytesIO(data))
    assert (header.format, header.width, header.height) == (known.format, *known.size)
    if form == "GIF":  # what is transparent stands behind the header
        assert header.transparent
    else:
        assert header.transparent == (mode in ("LA", "RGBA"))


@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_each_kind_of_webp(mode, lossless):
    header = read_header(written("WEBP", mode, lossless=lossless))
    assert (header.width, header.height, header.transparent) == (34, 21, mode == "RGBA")
    assert header.lossy is not lossless


@pytest.mark.parametrize("lossless", [True, False])
def test_of_a_webp_that_moves_the_first_image_counts(lossless):
    more = [Image.new("RGB", (34, 21), "red")]
    header = read_header(written("WEBP", save_all=True, append_images=more, lossless=lossless))
    assert header.lossy is not lossless


@pytest.mark.parametrize("code", range(1, 9))
def test_orientation(code):
    exif = Image.Exif()
    exif[ORIENTATION] = code
    assert orientation(written("JPEG", exif=exif)) == code
    for form in ("PNG", "WEBP"):
        assert read_header(written(form, "RGBA", exif=exif)).orientation == code


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("code", range(1, 9))
def test_orientation_of_an_avif(mode, axis, code):
    exif = Image.Exif()
    exif[ORIENTATION] = code  # which Pillow writes as a turn and a mirror
    data = written("AVIF", mode, exif=exif)
    assert read_header(data).orientation == code
    data = data.replace(b"\x09imir" + bytes([1 - axis]), b"\x09imir" + bytes([axis]))
    known = Image.open(io.BytesIO(data)).getexif().get(ORIENTATION, 1)
    assert read_header(data).orientation == known


def test_an_avif_may_be_turned_by_half_and_mirrored():
    exif = Image.Exif()
    exif[ORIENTATION] = 7
    data = written("AVIF", exif=exif)
    for place in (0, 1):
        turned = data.replace(b"\x09irot\3", b"\x09irot\2")
        turned = turned.replace(b"\x09imir\0", b"\x09imir" + bytes([place]))
        known = Image.open(io.BytesIO(turned)).getexif().get(ORIENTATION, 1)
        assert turned != data and read_header(turned).orientation == known


@pytest.mark.parametrize("length", [5000, 65533])
def test_exif_may_follow_long_segments(length):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = written("JPEG", exif=exif)
    photoshop = b"\xff\xed" + struct.pack(">H", length + 2) + b"Exif\0\0".ljust(length, b"8")
    data = data[:2] + 2 * photoshop + b"\xff\xff" + data[2:]  # and fill bytes
    assert Image.open(io.BytesIO(data)).getexif()[ORIENTATION] == 6
    assert orientation(data) == 6


def test_exif_of_a_thumbnail_is_not_the_images():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    inner = written("JPEG", exif=exif)
    thumbnail = b"\xff\xec" + struct.pack(">H", len(inner) + 2) + inner
    data = written("JPEG")
    data = data[:2] + thumbnail + data[2:]
    assert ORIENTATION not in Image.open(io.BytesIO(data)).getexif()
    assert orientation(data) == 1


def test_without_exif_images_are_upright():
    assert orientation(written("JPEG")) == 1
    assert read_header(written("PNG", "RGBA")).orientation == 1


@pytest.mark.parametrize("form, mode", list(images()))
def test_cut_anywhere_there_is_a_size_or_nothing(form, mode):
    data = written(form, mode)
    sizes = {None, (34, 21)}
    for length in range(0, len(data), 7):
        header = read_header(data[:length])
        assert (header and (header.width, header.height)) in sizes


@pytest.mark.parametrize("data", [b"", b"P", b"%PDF-1.4", bytes(1000), b"P7\n1 1\n255\n"])
def test_other_bytes_have_none(data):
    assert read_header(data) is None


@pytest.mark.parametrize("mode", LETTERS["PNG"])
def test_a_png_without_its_other_chunks_has_the_same_pixels(mode):
    data = written("PNG", mode, dpi=(72, 72), icc_profile=b"no profile at all")
    kept = decisive_png(data)
    assert b"pHYs" not in kept and b"iCCP" not in kept
    for flag in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR_RGB):
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
        assert np.array_equal(cv2.imdecode(np.frombuffer(kept, np.uint8), flag), pixels)


def test_what_decides_the_pixels_of_a_png_stays():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    frames = [Image.new("P", (8, 8), colour) for colour in (0, 1)]
    buffer = io.BytesIO()
    frames[0].save(
        buffer, "PNG", save_all=True, append_images=frames[1:], exif=exif, transparency=1
    )
    assert decisive_png(buffer.getvalue()) == buffer.getvalue()


def test_after_a_png_ends_nothing_stays():
    data = written("PNG")
    text = struct.pack(">I4sI", 0, b"tEXt", zlib.crc32(b"tEXt"))
    assert decisive_png(data[:33] + 900 * text + data[33:] + b"more") == data


@pytest.mark.parametrize(
    "data, depth",
    [
        (b"P5\n3 2\n255\n", 8),
        (b"P5 3 2 256 ", 16),
        (b"P6\n# a comment\n3 2\n# 255\n65535\n", 16),
        (b"P4\n3 2\n999 ", 8),  # which has no largest value
    ],
)
def test_the_depth_of_a_portable_map(data, depth):
    header = read_header(data + bytes(40))
    assert (header.width, header.height, header.depth) == (3, 2, depth)
