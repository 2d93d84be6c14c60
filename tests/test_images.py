"""Images of every kind are read alike, and what can't be read is named."""

import threading
import zipfile

import cv2
import numpy as np
import pytest
from PIL import Image

from dml.images import ImageError, read_bytes, read_image


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


def test_grey_transparent_and_deep_images_become_rgb(tmp_path):
    grey = gradient()[..., 0]
    for name, image in {
        "grey.png": grey,
        "deep.png": grey.astype("uint16") * 257,
        "clear.png": np.dstack([grey, grey, grey, np.full_like(grey, 10)]),
    }.items():
        assert cv2.imwrite(str(tmp_path / name), image)
        found = read_image(tmp_path / name)
        assert found.dtype == np.uint8 and (found == grey[..., None]).all(), name


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


def test_members_of_an_archive_are_read_by_many_threads(tmp_path):
    path = tmp_path / "many.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for i in range(40):
            member = zipfile.ZipInfo(f"in/{i}.png")
            member.compress_type = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[i % 2]
            member.extra = b"\xfe\xca\x02\x00ab"  # as the archives of some tools have
            archive.writestr(member, encoded(np.full((8, 8, 3), i, "uint8"), ".png"))
    wrong = []

    def read():
        for i in range(40):
            if (read_image(f"{path}!in/{i}.png") != i).any():
                wrong.append(i)

    threads = [threading.Thread(target=read) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
@pytest.mark.parametrize("share", [0.3, 0.95])
def test_truncated_files_are_refused(tmp_path, suffix, share):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype="uint8")
    data = encoded(noise, suffix)
    path = tmp_path / f"cut{suffix}"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ImageError, match=rf"cut\{suffix}"):
        read_image(path)


@pytest.mark.parametrize(
    "path, data, message",
    [
        ("missing.jpg", None, "no such file"),
        ("empty.jpg", b"", "empty file"),
        ("text.png", b"not an image at all", "not an image"),
        ("glyph:size=64", None, "expected glyph:seed=N"),
        ("missing.zip!a.png", None, "no such file"),
    ],
)
def test_says_what_is_wrong(tmp_path, monkeypatch, path, data, message):
    monkeypatch.chdir(tmp_path)
    if data is not None:
        (tmp_path / path).write_bytes(data)
    with pytest.raises(ImageError, match=message) as error:
        read_image(path)
    assert path.split("!")[0] in str(error.value)


def test_a_fault_that_loses_no_pixel_is_read_past(tmp_path):
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


def test_a_fault_behind_a_harmless_one_is_named(tmp_path):
    data = encoded(gradient(), ".jpg")
    start = data.index(b"\xff\xdb")  # the first table becomes bytes that belong nowhere
    (tmp_path / "a.jpg").write_bytes(data[:start] + b"\x00\x00" + data[start + 2 :])
    with pytest.raises(ImageError, match=r"a\.jpg: truncated or corrupt JPEG"):
        read_image(tmp_path / "a.jpg")


def test_an_encrypted_member_is_named(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", b"1")
    data = bytearray(path.read_bytes())
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + place] |= 1  # the flag that says encrypted
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.zip!a\.png: can't be read: .*encrypted"):
        read_image(f"{path}!a.png")


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_a_member_packed_otherwise_is_read(tmp_path, method):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", method) as archive:
        archive.writestr("a.png", encoded(gradient(), ".png"))
    assert (read_image(f"{tmp_path}/a.zip!a.png") == gradient()).all()


@pytest.mark.parametrize("place", [0, 45])  # in the header, and in the image
def test_a_member_that_is_corrupt_is_named(tmp_path, place):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.png", encoded(gradient(), ".png"))
    data = bytearray(path.read_bytes())
    data[place] ^= 255
    path.write_bytes(data)
    with pytest.raises(ImageError, match=r"a\.zip!a\.png: can't be read: .*(corrupt|checksum)"):
        read_image(f"{path}!a.png")


def test_a_member_that_is_not_in_the_archive(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w"):
        pass
    with pytest.raises(ImageError, match="no such member"):
        read_image(f"{tmp_path}/a.zip!b.png")


def test_bytes_are_those_of_the_file(tmp_path):
    (tmp_path / "a.bin").write_bytes(b"abc")
    assert read_bytes(tmp_path / "a.bin") == b"abc"
