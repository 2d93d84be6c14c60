"""Images of every format, intact and damaged."""

import io
import pickle
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from dml.errors import DataError
from dml.images import ImageError, read_image


def gradient(height=40, width=60):
    """Returns a smooth RGB image, red to the right, green downwards."""
    image = np.zeros((height, width, 3), "uint8")
    image[..., 0] = np.linspace(0, 255, width)
    image[..., 1] = np.linspace(0, 255, height)[:, None]
    return image


def encoded(image, suffix, *options):
    channels = cv2.COLOR_RGB2BGR if image.shape[-1] == 3 else cv2.COLOR_RGBA2BGRA
    return cv2.imencode(suffix, cv2.cvtColor(image, channels), options)[1].tobytes()


def with_orientation(jpeg, code):
    """Returns a JPEG with an EXIF block that says how it is to be turned."""
    tiff = b"II*\0" + (8).to_bytes(4, "little") + (1).to_bytes(2, "little")
    tiff += b"\x12\x01\x03\0\x01\0\0\0" + code.to_bytes(4, "little") + bytes(4)
    body = b"Exif\0\0" + tiff
    return jpeg[:2] + b"\xff\xe1" + (len(body) + 2).to_bytes(2, "big") + body + jpeg[2:]


@pytest.mark.parametrize(
    "suffix, tolerance", [(".png", 0), (".jpg", 12), (".bmp", 0), (".webp", 12)]
)
def test_formats(tmp_path, suffix, tolerance):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(encoded(gradient(), suffix))
    image = read_image(path)
    assert image.shape == (40, 60, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - gradient()).max() <= tolerance


def test_grey_and_deep_images_become_rgb(tmp_path):
    grey = gradient()[..., 0]
    for name, image in {
        "grey.png": grey,
        "deep.png": grey.astype("uint16") * 257,
    }.items():
        assert cv2.imwrite(str(tmp_path / name), image)
        found = read_image(tmp_path / name)
        assert found.dtype == np.uint8 and (found == grey[..., None]).all(), name


def transparent(colour):
    """Returns a disc's edge on nothing: RGBA whose invisible pixels have a colour."""
    image = np.full((24, 32, 4), (10, 90, 200, 255), "uint8")
    image[:8] = (*colour, 0)
    image[8:16, :, 3] = np.arange(32) * 8
    return image


SEEN = transparent((0, 0, 0)).astype(float)


SEEN = SEEN[..., 3:] / 255 * SEEN[..., :3] + 255 - SEEN[..., 3:]


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0), (255, 255, 255), (3, 250, 77)])
@pytest.mark.parametrize(
    "name, options, tolerance",
    [
        ("PNG", {}, 0.5),
        ("WEBP", {"lossless": True, "exact": True}, 0.5),
        ("AVIF", {"quality": 100, "subsampling": "4:4:4"}, 3),
        ("TIFF", {}, 1.5),  # its decoder multiplies by alpha, in 8 bits
    ],
)
def test_transparent_images_are_laid_on_white(tmp_path, name, options, tolerance, colour):
    Image.fromarray(transparent(colour)).save(tmp_path / "a", name, **options)
    image = read_image(tmp_path / "a")
    assert image.dtype == np.uint8 and np.abs(image - SEEN).max() <= tolerance


@pytest.mark.parametrize("colour", [(0, 0, 0), (255, 0, 0)])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_so_are_deep_ones(tmp_path, suffix, colour):
    image = transparent(colour).astype("uint16") * 257
    (tmp_path / "a").write_bytes(encoded(image, suffix))
    assert np.abs(read_image(tmp_path / "a") - SEEN).max() <= 1
    opaque = image | np.array([0, 0, 0, 65535], "uint16")
    (tmp_path / "b").write_bytes(encoded(opaque, suffix))
    (tmp_path / "c").write_bytes(encoded(opaque[..., :3], suffix))
    difference = read_image(tmp_path / "b").astype(int) - read_image(tmp_path / "c")
    assert np.abs(difference).max() <= (0 if suffix == ".png" else 1)


@pytest.mark.parametrize("depth", [10, 12])
def test_so_are_avif_images_of_more_bits(tmp_path, depth):
    image = transparent((0, 255, 0)).astype("uint16") << (depth - 8)
    image |= image >> 8
    options = (cv2.IMWRITE_AVIF_DEPTH, depth, cv2.IMWRITE_AVIF_QUALITY, 100)
    (tmp_path / "a").write_bytes(encoded(image, ".avif", *options))
    image = read_image(tmp_path / "a").astype(int)
    assert (image[:7] == 255).all() and np.abs(image - SEEN)[17:].max() <= 3


@pytest.mark.parametrize("mode", ["LA", "P", "L", "RGB", "1"])
@pytest.mark.parametrize("invisible", [0, 255])
def test_grey_indexed_and_keyed_ones_too(tmp_path, mode, invisible):
    grey = np.full((12, 10), 128 if mode != "1" else 255 - invisible, "uint8")
    grey[:5] = invisible
    options, image = {}, Image.fromarray(grey)
    if mode == "LA":
        image.putalpha(Image.fromarray(np.where(grey == invisible, 0, 255).astype("uint8")))
    elif mode == "RGB":
        image, options = image.convert("RGB"), {"transparency": (invisible,) * 3}
    else:
        image = image.convert(mode, dither=Image.Dither.NONE)
        options = {"transparency": invisible}
    image.save(tmp_path / "a.png", **options)
    found = read_image(tmp_path / "a.png")
    assert (found[:5] == 255).all() and (found[5:] == grey[5:, :, None]).all()


@pytest.mark.parametrize("mode", ["LA", "PA"])
def test_a_tiff_whose_transparency_is_not_read_is_refused(tmp_path, mode):
    Image.new("LA", (8, 8), (0, 9)).convert(mode).save(tmp_path / "a.tiff")
    with pytest.raises(ImageError, match=r"a grey or indexed TIFF with tr.*: save it as a PNG"):
        read_image(tmp_path / "a.tiff")


@pytest.mark.parametrize("kind", ["float32", "float64", "int32"])
def test_a_tiff_of_many_bits_is_not_called_corrupt(tmp_path, kind, capfd):
    assert cv2.imwrite(str(tmp_path / "a.tiff"), np.zeros((8, 8), kind))
    bits = kind[-2:]
    with pytest.raises(ImageError, match=f"a TIFF of {bits} bits per channel, .* 8 or 16"):
        read_image(tmp_path / "a.tiff")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("invisible", [0, 1])
def test_of_a_gif_the_first_image_is_laid_on_white(tmp_path, invisible):
    indices = np.full((12, 10), 1 - invisible, "uint8")
    indices[:5] = invisible
    image = Image.fromarray(indices, "P")
    image.putpalette([10, 90, 200, 10, 90, 200])
    image.save(tmp_path / "a.gif", transparency=invisible, optimize=False)
    found = read_image(tmp_path / "a.gif")
    assert (found[:5] == 255).all() and (found[5:] == (10, 90, 200)).all()


AVIF = {"quality": 100, "subsampling": "4:4:4"}


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize(
    "name, options, tolerance",
    [("PNG", {}, 0.5), ("WEBP", {"lossless": True}, 0.5), ("AVIF", AVIF, 3), ("TIFF", {}, 1.5)],
)
def test_transparent_images_stand_upright(tmp_path, name, options, tolerance, code):
    turned = Image.Exif()
    turned[0x0112] = code
    image = Image.fromarray(transparent((9, 9, 9)))
    image.save(tmp_path / "a", name, exif=turned.tobytes(), **options)
    written = Image.open(io.BytesIO((tmp_path / "a").read_bytes()))  # of a path, not all turned
    seen = np.asarray(ImageOps.exif_transpose(written), float)
    seen = seen[..., 3:] / 255 * seen[..., :3] + 255 - seen[..., 3:]
    found = read_image(tmp_path / "a")
    assert found.shape == seen.shape and np.abs(found - seen).max() <= tolerance


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize(
    "name, options, tolerance",
    [("PNG", {}, 0), ("WEBP", {"lossless": True}, 0), ("AVIF", AVIF, 3), ("TIFF", {}, 0)],
)
def test_so_do_opaque_ones(tmp_path, name, options, tolerance, code):
    turned = Image.Exif()
    turned[0x0112] = code
    Image.fromarray(gradient()).save(tmp_path / "a", name, exif=turned.tobytes(), **options)
    written = Image.open(io.BytesIO((tmp_path / "a").read_bytes()))
    seen = np.asarray(ImageOps.exif_transpose(written), int)
    found = read_image(tmp_path / "a")
    assert found.shape == seen.shape and np.abs(found - seen).max() <= tolerance


@pytest.mark.parametrize(
    "code, change",
    [
        (3, lambda x: x[::-1, ::-1]),
        (6, lambda x: np.rot90(x, -1)),
        (8, lambda x: np.rot90(x)),
        (2, lambda x: x[:, ::-1]),
    ],
)
def test_photographs_stand_upright(tmp_path, code, change):
    (tmp_path / "a.jpg").write_bytes(with_orientation(encoded(gradient(), ".jpg"), code))
    image, expected = read_image(tmp_path / "a.jpg"), change(gradient())
    assert image.shape == expected.shape
    assert np.abs(image.astype(int) - expected).max() <= 12


def test_a_jpeg_may_be_decoded_smaller_but_not_below_the_side_asked_for(tmp_path):
    (tmp_path / "a.jpg").write_bytes(encoded(gradient(400, 600), ".jpg"))
    image = read_image(tmp_path / "a.jpg", minimum_side=90)
    assert 90 <= min(image.shape[:2]) < 200
    small = cv2.resize(gradient(400, 600), image.shape[1::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(image.astype(int) - small).max() <= 15
    assert read_image(tmp_path / "a.jpg", minimum_side=1000).shape == (400, 600, 3)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    data = encoded(noise, suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=rf"cut\{suffix}"):
        read_image(path)


def size_claimed(data, suffix, width, height):
    """Returns an image's bytes with another size in its header."""
    data = bytearray(data)
    if suffix == ".jpg":
        place = data.index(b"\xff\xc0") + 5
        data[place : place + 4] = struct.pack(">HH", height, width)
    elif suffix == ".png":
        data[16:24] = struct.pack(">II", width, height)
        data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    elif suffix == ".bmp":
        data[18:26] = struct.pack("<ii", width, height)
    elif suffix == ".gif":
        data[6:10] = struct.pack("<HH", width, height)
    elif suffix == ".ppm":
        data[:] = b"P6\n%d %d\n255\n" % (width, height) + bytes(100)
    elif suffix == ".tiff":
        directory = struct.unpack_from("<I", data, 4)[0]
        for place in range(directory + 2, len(data) - 11, 12):
            tag = struct.unpack_from("<H", data, place)[0]
            if tag in (256, 257):
                value = (width, height)[tag - 256]
                data[place : place + 12] = struct.pack("<HHII", tag, 4, 1, value)
    elif suffix == ".avif":
        while (place := data.find(b"ispe")) > 0:
            data[place : place + 16] = b"ISPE" + struct.pack(">III", 0, width, height)
        data = data.replace(b"ISPE", b"ispe")
    return bytes(data)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".ppm", ".tiff", ".avif"])
def test_more_pixels_than_any_photograph_are_refused_before_they_are_decoded(tmp_path, suffix):
    data = size_claimed(encoded(gradient(), suffix), suffix, 65000, 65000)
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ImageError, match=r"a: 65000 x 65000: .* at most 268 million pixels"):
        read_image(tmp_path / "a")


@pytest.mark.parametrize(
    "path, data, message",
    [
        ("empty.jpg", b"", "empty file"),
        ("text.png", b"not an image at all", "not an image"),
    ],
)
def test_says_what_is_wrong(tmp_path, monkeypatch, path, data, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / path).write_bytes(data)
    with pytest.raises(ImageError, match=message) as error:
        read_image(path)
    assert path in str(error.value)


def test_an_error_that_loses_no_pixel_is_ignored(tmp_path):
    data = encoded(gradient(), ".jpg")
    (tmp_path / "a.jpg").write_bytes(data[:-2] + bytes(4) + data[-2:])
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - gradient()).max() <= 12


@pytest.mark.parametrize("transform", [0, 2])  # CMYK, and YCCK
def test_a_jpeg_in_the_colours_of_print_becomes_rgb(tmp_path, transform):
    inks = np.dstack([255 - gradient(), np.zeros(gradient().shape[:2], "uint8")])
    Image.fromarray(inks, "CMYK").save(tmp_path / "a.jpg")
    data = bytearray((tmp_path / "a.jpg").read_bytes())
    data[data.index(b"Adobe") + 11] = transform
    (tmp_path / "a.jpg").write_bytes(data)
    image = read_image(tmp_path / "a.jpg")
    assert image.shape == (40, 60, 3)
    if transform == 0:  # the other's pixels were not written as such
        assert np.abs(image.astype(int) - gradient()).max() <= 12


def test_an_error_after_a_harmless_warning_is_reported(tmp_path):
    data = encoded(gradient(), ".jpg")
    start = data.index(b"\xff\xdb")  # the first table becomes bytes that belong nowhere
    (tmp_path / "a.jpg").write_bytes(data[:start] + b"\x00\x00" + data[start + 2 :])
    with pytest.raises(ImageError, match=r"a\.jpg: truncated or corrupt JPEG"):
        read_image(tmp_path / "a.jpg")


def test_what_else_a_png_holds_is_neither_unpacked_nor_printed(tmp_path, capfd):
    data = cv2.imencode(".png", np.zeros((8, 8, 3), "uint8"))[1].tobytes()
    body = b"a\0\0" + zlib.compress(bytes(100))[:-1]  # cut: libpng prints a warning of each
    text = struct.pack(">I4s", len(body), b"zTXt") + body
    text += struct.pack(">I", zlib.crc32(text[4:]))
    path = tmp_path / "image.png"
    path.write_bytes(data[:33] + 100 * text + data[33:])
    assert read_image(path).shape == (8, 8, 3)
    assert capfd.readouterr() == ("", "")


def test_the_error_of_a_worker_process_comes_back_whole():
    error = pickle.loads(pickle.dumps(ImageError("a.png", "empty file")))
    assert isinstance(error, DataError) and (error.path, error.text) == ("a.png", "empty file")
    assert str(error) == "a.png: empty file"
