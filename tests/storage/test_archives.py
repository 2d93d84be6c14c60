"""Members of archives are read completely, and not beyond their declared size."""

import struct
import threading
import zipfile

import numpy as np
import pytest

from dml._storage.archives import read_tar_directory, read_tar_part
from dml.errors import DataError
from dml.images import ImageError, read_image
from tests.datasets.layouts import png, write_tar
from tests.images.test_decoding import encoded, gradient


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


def test_a_member_unpacks_to_no_more_than_it_says(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", bytes(10**7))
    data = path.read_bytes()
    for size in (100, 2**31):  # the directory lies
        lying = data.replace(struct.pack("<I", 10**7), struct.pack("<I", size))
        path.write_bytes(lying)
        with pytest.raises(ImageError, match=r"a\.zip!a\.png: can't be read: "):
            read_image(f"{path}!a.png")


def test_a_changed_archive_is_read_again(tmp_path):
    for colour, members in ((10, 1), (20, 2)):
        with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
            for n in range(members):
                archive.writestr(f"{n}.png", encoded(np.full((8, 8, 3), colour, "uint8"), ".png"))
        assert (read_image(f"{tmp_path}/a.zip!{members - 1}.png") == colour).all()


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


def test_a_member_of_a_tar_is_read_from_its_place(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.txt": "one", "b.png": png(1)})
    start, length = read_tar_directory(path)["b.png"]
    assert (start, length) == (3 * 512, len(png(1)))  # after a header and the data of `a.txt`
    assert read_tar_part(path, start, length) == png(1)
    assert (read_image(f"{path}@{start}+{length}!b.png") == read_image(f"{path}!b.png")).all()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("999999999999+9", "has changed, or is truncated"),
        ("0+999999999999", "at most 512 MiB"),
        ("0+512", "not an image of a known format"),
    ],
)
def test_a_place_that_holds_no_image_is_named(tmp_path, place, message):
    path = write_tar(tmp_path / "a.tar", {"b.png": png(1)})
    with pytest.raises(ImageError, match=message) as error:
        read_image(f"{path}@{place}!b.png")
    assert str(error.value).startswith(f"{path}@{place}!b.png: ")


def test_a_tar_that_ends_within_a_header_is_truncated(tmp_path):
    path = write_tar(tmp_path / "a.tar", {"a.txt": "one", "b.txt": "two"})
    data = path.read_bytes()
    path.write_bytes(data[:1024])  # one member, without the zeros at the end: some tools omit them
    assert list(read_tar_directory(path)) == ["a.txt"]
    path.write_bytes(data[:1500])
    with pytest.raises(DataError, match=r"a\.tar: not an uncompressed tar archive: truncated"):
        read_tar_directory(path)
