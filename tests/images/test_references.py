"""References to images: files, members of archives, drawings, and parts of images."""

import os
import tarfile
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dml.images import ImageError, ImageRef, read_image
from dml.images._references import (
    ArchiveMemberRef,
    CellRef,
    CropRef,
    DrawnRef,
    FileRef,
    MaskedRef,
    RemoteRef,
    TarPartRef,
)
from dml.images._regions import Box, BoxUnit
from dml.images._strokes import render
from tests.images.test_decoding import encoded, gradient, with_orientation

DRAWN = "glyph:seed=1,size=20,class=3,sample=2"
HALF = Box(0, 0.1, 0.5, 1, BoxUnit.SHARES)


@pytest.mark.parametrize(
    "text, reference, files",
    [
        ("a/b.jpg", FileRef("a/b.jpg"), ["a/b.jpg"]),
        ("what!.zip", FileRef("what!.zip"), ["what!.zip"]),
        ("a.tar.gz!b.jpg", FileRef("a.tar.gz!b.jpg"), ["a.tar.gz!b.jpg"]),
        ("a.zip!in/b.jpg", ArchiveMemberRef("a.zip", "in/b.jpg"), ["a.zip"]),
        ("x/a.tar!./b!.jpg", ArchiveMemberRef("x/a.tar", "./b!.jpg"), ["x/a.tar"]),
        (".zip!b.jpg", ArchiveMemberRef(".zip", "b.jpg"), [".zip"]),
        (DRAWN, DrawnRef("seed=1,size=20,class=3,sample=2"), []),
        ("glyph:", DrawnRef(""), []),
        (
            "crop:pixels=1,2,30.5,40:a.jpg",
            CropRef(FileRef("a.jpg"), Box(1, 2, 30.5, 40)),
            ["a.jpg"],
        ),
        ("crop:shares=0,0.1,0.5,1:a:b", CropRef(FileRef("a:b"), HALF), ["a:b"]),
        (
            "mask:m/1.png:a.jpg",
            MaskedRef(FileRef("a.jpg"), FileRef("m/1.png")),
            ["a.jpg", "m/1.png"],
        ),
        ("mask:50%25%3A.png:a", MaskedRef(FileRef("a"), FileRef("50%:.png")), ["a", "50%:.png"]),
        (
            "crop:shares=0,0.1,0.5,1:mask:m.zip!1.png:a.tar!2.jpg",
            CropRef(
                MaskedRef(ArchiveMemberRef("a.tar", "2.jpg"), ArchiveMemberRef("m.zip", "1.png")),
                HALF,
            ),
            ["a.tar", "m.zip"],
        ),
        ("a.tar!b.zip!c.jpg", ArchiveMemberRef("a.tar", "b.zip!c.jpg"), ["a.tar"]),
        ("A.Zip!b.jpg", ArchiveMemberRef("A.Zip", "b.jpg"), ["A.Zip"]),
        ("A.TAR@512+10!b.jpg", TarPartRef("A.TAR", 512, 10, "b.jpg"), ["A.TAR"]),
        ("A.PARQUET!image!12", CellRef("A.PARQUET", "image", 12), ["A.PARQUET"]),
        ("a.tar@512+10!b.jpg", TarPartRef("a.tar", 512, 10, "b.jpg"), ["a.tar"]),
        ("x/a.parquet!an image!12", CellRef("x/a.parquet", "an image", 12), ["x/a.parquet"]),
        ("a.arrow!b!c!0", CellRef("a.arrow", "b!c", 0), ["a.arrow"]),
        ("a.parquet!b.jpg", FileRef("a.parquet!b.jpg"), ["a.parquet!b.jpg"]),
        ("s3://b/a.jpg", RemoteRef("s3://b/a.jpg"), ["s3://b/a.jpg"]),
        (
            "crop:pixels=1,2,30.5,40:s3://b/a.jpg",
            CropRef(RemoteRef("s3://b/a.jpg"), Box(1, 2, 30.5, 40)),
            ["s3://b/a.jpg"],
        ),
        ("a.zip@512+10!b.jpg", FileRef("a.zip@512+10!b.jpg"), ["a.zip@512+10!b.jpg"]),
    ],
)
def test_texts_become_references_and_texts_again(text, reference, files):
    parsed = ImageRef.parse(text)
    assert parsed == reference and type(parsed) is type(reference)
    assert str(parsed) == text and parsed.files == tuple(files)


def test_a_path_object_is_taken(tmp_path):
    assert ImageRef.parse(tmp_path / "a.jpg") == FileRef(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    "text, absolute, normal",
    [
        ("./a//b.png", "/data/a/b.png", "a/b.png"),
        ("/x/../b.png", "/b.png", "/b.png"),
        ("./a.zip!in/../b.png", "/data/a.zip!in/../b.png", "a.zip!in/../b.png"),
        ("s//a.tar!./b.png", "/data/s/a.tar!./b.png", "s/a.tar!./b.png"),
        ("s3://b//a/../c.jpg", "s3://b//a/../c.jpg", "s3://b//a/../c.jpg"),
        ("./a.arrow!b!3", "/data/a.arrow!b!3", "a.arrow!b!3"),
        ("s//a.tar@512+1!./b.png", "/data/s/a.tar@512+1!./b.png", "s/a.tar@512+1!./b.png"),
        (DRAWN, DRAWN, DRAWN),
        (
            "crop:pixels=0,0,2,2:mask:./m.png:./a.png",
            "crop:pixels=0,0,2,2:mask:/data/m.png:/data/a.png",
            "crop:pixels=0,0,2,2:mask:m.png:a.png",
        ),
    ],
)
def test_the_path_of_the_file_is_made_absolute_and_the_members_name_is_kept(text, absolute, normal):
    reference = ImageRef.parse(text)
    assert str(reference.absolute("/data")) == absolute
    assert str(reference.absolute(Path("/data"))) == absolute
    assert str(reference.normalized()) == normal


def test_a_relative_path_is_relative_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert ImageRef.parse("b.png").absolute() == FileRef(os.path.join(os.getcwd(), "b.png"))


def test_the_bytes_of_a_file_and_of_members_are_read_and_decoded(tmp_path):
    data = encoded(gradient(), ".png")
    (tmp_path / "a.png").write_bytes(data)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.write(tmp_path / "a.png", "in/a.png")
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        archive.add(tmp_path / "a.png", "in/a.png")
    for name in ("a.png", "a.zip!in/a.png", "a.tar!in/a.png"):
        reference = ImageRef.parse(tmp_path / name)
        assert reference.read_bytes() == data
        assert (reference.decode(data) == gradient()).all()
        assert (read_image(tmp_path / name) == gradient()).all()


def test_a_drawing_is_what_its_numbers_draw():
    expected = render(3, sample=2, size=20, seed=1)
    reference = ImageRef.parse(DRAWN)
    assert reference == DrawnRef.of(3, sample=2, size=20, seed=1)
    assert reference.read_bytes() == expected.tobytes()
    image = read_image(DRAWN)
    assert (image == expected).all() and image.dtype == np.uint8 and image.flags.writeable


@pytest.mark.parametrize(
    "text, message",
    [
        ("glyph:size=64", "expected glyph:seed=N"),
        ("glyph:", "expected glyph:seed=N"),
        ("glyph:seed=0,size=1000000,class=0,sample=0", "size of 8 to 4096"),
        ("glyph:seed=0,size=64,class=x,sample=0", "expected glyph:seed=N"),
        ("missing.jpg", "no such file"),
        ("missing.zip!a.png", "no such file"),
        ("a\0b.jpg", "can't be read: embedded null"),
        ("crop:0,0,5,5:a.png", "expected crop:pixels=X0,Y0,X1,Y1:IMAGE or"),
        ("crop:pixels=0,0,x,5:a.png", "expected crop:pixels=X0,Y0,X1,Y1:IMAGE or"),
        ("crop:pixels=5,0,5,5:a.png", "with x0 < x1 and y0 < y1"),
        ("mask:m.png", "expected mask:MASK:IMAGE"),
    ],
)
def test_what_is_missing_or_no_reference_is_named(text, message):
    with pytest.raises(ImageError, match=message) as error:
        read_image(text)
    assert error.value.path == text and str(error.value).startswith(f"{text}: ")


@pytest.mark.parametrize("suffix", ["zip", "tar"])
def test_a_missing_member_is_named(tmp_path, suffix):
    with zipfile.ZipFile(tmp_path / "a.zip", "w"), tarfile.open(tmp_path / "a.tar", "w"):
        pass
    message = rf"a\.{suffix}!b\.png: the archive has no such member"
    with pytest.raises(ImageError, match=message):
        read_image(tmp_path / f"a.{suffix}!b.png")


@pytest.mark.parametrize("path", ["pipe.jpg", "folder.png", "pipe.zip!a.png", "pipe.tar!a.png"])
def test_only_regular_files_are_opened(tmp_path, path):
    for name in ("pipe.jpg", "pipe.zip", "pipe.tar"):
        os.mkfifo(tmp_path / name)
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(ImageError, match=f"{path}: can't be read: not a regular file"):
        read_image(f"{tmp_path}/{path}")


@pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="there is no /proc here")
def test_a_file_that_the_kernel_generates_is_not_waited_for():
    with pytest.raises(ImageError, match="empty file"):
        read_image("/proc/self/stat")


def test_a_device_is_no_image():
    with pytest.raises(ImageError, match="not a regular file"):
        read_image("/dev/zero")


def test_a_large_file_is_refused_before_it_is_read(tmp_path):
    with open(tmp_path / "a.bmp", "wb") as file:
        file.truncate(2**41)  # a sparse file
    with pytest.raises(ImageError, match=r"a\.bmp: can't be read: .* at most 512 MiB"):
        read_image(tmp_path / "a.bmp")


def test_a_box_is_cut_out_of_the_upright_image(tmp_path):
    """Of a JPEG at its full size, though the caller would take a fraction of it."""
    jpeg = encoded(gradient(400, 600), ".jpg")
    (tmp_path / "a.jpg").write_bytes(with_orientation(jpeg, 6))  # to be turned right by 90 degrees
    upright = read_image(tmp_path / "a.jpg")
    assert upright.shape == (600, 400, 3)
    part = read_image(f"crop:pixels=10,300,110,500:{tmp_path}/a.jpg", minimum_side=8)
    assert (part == upright[300:500, 10:110]).all()
    share = read_image(f"crop:shares=0.25,0.5,1,0.75:{tmp_path}/a.jpg")
    assert (share == upright[300:450, 100:400]).all()


def test_what_is_black_in_a_mask_becomes_white(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded(gradient(), ".png"))
    mask = np.zeros((40, 60, 3), "uint8")
    mask[10:20, 5:50] = (0, 0, 1)  # an index of a class
    (tmp_path / "m.png").write_bytes(encoded(mask, ".png"))
    expected = np.full_like(gradient(), 255)
    expected[10:20, 5:50] = gradient()[10:20, 5:50]
    assert (read_image(f"mask:{tmp_path}/m.png:{tmp_path}/a.png") == expected).all()
    part = read_image(f"crop:pixels=0,5,30,20:mask:{tmp_path}/m.png:{tmp_path}/a.png")
    assert (part == expected[5:20, :30]).all()


@pytest.mark.parametrize(
    "mask, message",
    [
        (gradient(40, 61), "the mask is 61 x 40, and the image 60 x 40"),
        (np.zeros((40, 60, 3), "uint8"), "the mask is all black"),
        (np.zeros((40, 60, 4), "uint8"), r"m\.png: a mask can't be transparent"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path, mask, message):
    (tmp_path / "a.png").write_bytes(encoded(gradient(), ".png"))
    (tmp_path / "m.png").write_bytes(encoded(mask, ".png"))
    with pytest.raises(ImageError, match=message):
        read_image(f"mask:{tmp_path}/m.png:{tmp_path}/a.png")


@pytest.mark.parametrize(
    "box, message",
    [
        ("pixels=0,0,60.5,40", "the box ends outside of the image, which is 60 x 40"),
        ("shares=0.5,0.5,0.501,1", "the box holds no pixel of the image, which is 60 x 40"),
    ],
)
def test_a_box_that_the_image_does_not_hold_is_refused(tmp_path, box, message):
    (tmp_path / "a.png").write_bytes(encoded(gradient(), ".png"))
    text = f"crop:{box}:{tmp_path}/a.png"
    with pytest.raises(ImageError, match=message) as error:
        read_image(text)
    assert error.value.path == text


@pytest.mark.parametrize(
    "suffix, options, kind",
    [
        (".jpg", {}, "a JPEG"),
        (".webp", {"quality": 100}, "a lossy WebP"),
        (".webp", {"quality": 100, "exif": bytes(8)}, "a lossy WebP"),
        (".avif", {"quality": 100}, "an AVIF"),
    ],
)
def test_a_mask_that_loses_its_black_is_refused(tmp_path, suffix, options, kind):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(gradient()).save(path, **options)
    with pytest.raises(ImageError, match=rf"a{suffix}: a mask can't be {kind}, which changes col"):
        read_image(f"mask:{path}:{path}")


@pytest.mark.parametrize("exif", [b"", bytes(8)])
def test_a_mask_may_be_a_webp_without_loss(tmp_path, exif):
    (tmp_path / "a.png").write_bytes(encoded(gradient(), ".png"))
    mask = np.zeros((40, 60, 3), "uint8")
    mask[10:20] = 255
    Image.fromarray(mask).save(tmp_path / "m.webp", lossless=True, exif=exif)
    found = read_image(f"mask:{tmp_path}/m.webp:{tmp_path}/a.png")
    assert (found == np.where(mask, gradient(), 255)).all()


@pytest.mark.parametrize("suffix", [".png", ".tiff", ".pgm"])
@pytest.mark.parametrize("kind", ["uint8", "uint16"])
def test_a_mask_of_16_bits_would_lose_its_small_values(tmp_path, suffix, kind):
    (tmp_path / "a.png").write_bytes(encoded(gradient(), ".png"))
    assert cv2.imwrite(f"{tmp_path}/m{suffix}", np.full((40, 60), 3, kind))
    text = f"mask:{tmp_path}/m{suffix}:{tmp_path}/a.png"
    if kind == "uint8":
        assert (read_image(text) == gradient()).all()
        return
    with pytest.raises(ImageError, match=rf"m{suffix}: a mask can't have 16 bits: save it with 8"):
        read_image(text)


def test_a_digest_is_of_all_that_the_pixels_depend_on(tmp_path):
    def digest(text):
        reference = ImageRef.parse(text)
        return reference.digest(reference.read_bytes())

    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(gradient(), ".png"))
    (tmp_path / "m.png").write_bytes(encoded(gradient(), ".png"))
    (tmp_path / "n.png").write_bytes(encoded(gradient() // 2, ".png"))
    a, b = tmp_path / "a.png", tmp_path / "b.png"
    box, other = "crop:pixels=0,0,5,5", "crop:pixels=0,0,5,6"
    texts = [
        f"{a}",
        f"{box}:{a}",
        f"{other}:{a}",
        f"mask:{tmp_path}/m.png:{a}",
        f"mask:{tmp_path}/n.png:{a}",
        f"{box}:mask:{tmp_path}/m.png:{a}",
    ]
    digests = [digest(text) for text in texts]
    assert len(set(digests)) == len(texts)
    assert [digest(text.replace(str(a), str(b))) for text in texts] == digests  # wherever it is
