"""References to images: files, members of archives and drawings."""

import os
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from dml.images import ImageError, ImageRef, read_image
from dml.images._references import ArchiveMemberRef, DrawnRef, FileRef
from dml.images._strokes import render
from tests.images.test_decoding import encoded, gradient

DRAWN = "glyph:seed=1,size=20,class=3,sample=2"


@pytest.mark.parametrize(
    "text, reference, container",
    [
        ("a/b.jpg", FileRef("a/b.jpg"), "a/b.jpg"),
        ("what!.zip", FileRef("what!.zip"), "what!.zip"),
        ("a.tar.gz!b.jpg", FileRef("a.tar.gz!b.jpg"), "a.tar.gz!b.jpg"),
        ("a.zip!in/b.jpg", ArchiveMemberRef("a.zip", "in/b.jpg"), "a.zip"),
        ("x/a.tar!./b!.jpg", ArchiveMemberRef("x/a.tar", "./b!.jpg"), "x/a.tar"),
        (".zip!b.jpg", ArchiveMemberRef(".zip", "b.jpg"), ".zip"),
        (DRAWN, DrawnRef("seed=1,size=20,class=3,sample=2"), None),
        ("glyph:", DrawnRef(""), None),
    ],
)
def test_texts_become_references_and_texts_again(text, reference, container):
    parsed = ImageRef.parse(text)
    assert parsed == reference and type(parsed) is type(reference)
    assert str(parsed) == text and parsed.container == container


def test_a_path_object_is_taken(tmp_path):
    assert ImageRef.parse(tmp_path / "a.jpg") == FileRef(str(tmp_path / "a.jpg"))


@pytest.mark.parametrize(
    "text, absolute, normal",
    [
        ("./a//b.png", "/data/a/b.png", "a/b.png"),
        ("/x/../b.png", "/b.png", "/b.png"),
        ("./a.zip!in/../b.png", "/data/a.zip!in/../b.png", "a.zip!in/../b.png"),
        ("s//a.tar!./b.png", "/data/s/a.tar!./b.png", "s/a.tar!./b.png"),
        (DRAWN, DRAWN, DRAWN),
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
