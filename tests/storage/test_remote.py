"""Files at URLs are read through fsspec, within bounds, and each error is one line."""

import io
import sys
import threading
import time

import fsspec
import pytest

from dml._storage import remote
from dml._storage.remote import is_url, local_path, read_url
from dml.datasets._recorded import image_digests
from dml.errors import DataError, PackageError
from dml.images import ImageError, ImageRef, read_image
from tests.datasets.layouts import png, write_image


@pytest.fixture
def memory():
    system = fsspec.filesystem("memory")
    system.pipe("/bucket/a.png", png(1))
    yield system
    system.rm("/bucket", recursive=True)


def test_what_is_a_url():
    assert all(map(is_url, ("s3://b/a.jpg", "memory://a", "abfs+x://a", "HTTPS://a/b?c=1")))
    assert not any(map(is_url, ("a/b.jpg", "c://a.jpg", "/s3://a", "glyph:seed=1", "://a", "a:b")))
    assert local_path("file:///a/b c.jpg") == "/a/b c.jpg" and local_path("s3://b") == "s3://b"


def test_an_image_in_memory_is_read_by_many_threads(memory):
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(read_url("memory://bucket/a.png")))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [png(1)] * 8
    assert read_image("memory://bucket/a.png").shape == (20, 24, 3)
    assert read_image("crop:pixels=1,2,9,8:memory://bucket/a.png").shape == (6, 8, 3)


def test_a_file_url_is_a_file(tmp_path):
    path = write_image(tmp_path / "a b.png", 1)
    assert (read_image(f"file://{path}") == read_image(path)).all()
    assert str(ImageRef.parse(f"file://{path}")) == str(path)
    with pytest.raises(ImageError, match="not a regular file"):
        read_image("file:///dev/zero")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("memory://bucket/b.png", "no such file"),
        ("nonsense://bucket/b.png", "Protocol not known: nonsense"),
        ("memory://bucket/a.png::memory://b", r"chained URLs \(::\) are not read"),
        (
            "memory://bucket/a.zip!b.png",
            "archives, Parquet and Arrow files are read from disks only",
        ),
    ],
)
def test_what_can_not_be_read_is_named(memory, url, message):
    with pytest.raises(ImageError, match=message) as error:
        read_image(url)
    assert str(error.value).startswith(f"{url}: ") and "\n" not in str(error.value)


def test_a_large_file_is_not_read_whole(memory, monkeypatch):
    monkeypatch.setattr(remote, "MOST_BYTES", 10)
    monkeypatch.setattr("dml._storage.archives.MOST_BYTES", 10)
    with pytest.raises(DataError, match=r"a\.png: 11 bytes: a file may have at most"):
        read_url("memory://bucket/a.png")


class Failing(fsspec.AbstractFileSystem):
    """A file system whose errors have several lines, as those of cloud stores."""

    protocol = "failing"

    def _open(self, path, *arguments, **options):
        if "server" in path:  # as the file system of https:// does
            raise FileNotFoundError(path) from ConnectionError("no answer")
        raise RuntimeError("Forbidden:\n  <Error>no access</Error>\n")


def test_errors_of_a_store_are_one_line(monkeypatch):
    fsspec.register_implementation("failing", Failing, clobber=True)
    with pytest.raises(DataError) as error:
        read_url("failing://bucket/a.png")
    assert str(error.value) == "failing://bucket/a.png: Forbidden: <Error>no access</Error>"
    with pytest.raises(DataError, match=r"failing://server/a\.png: no answer"):
        read_url("failing://server/a.png")


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    with pytest.raises(PackageError, match=r"s3://b/a\.png needs .*s3fs.* pip install 'dml\[s3\]'"):
        read_image("s3://b/a.png")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(PackageError, match=r"fsspec is missing\. pip install 'dml\[remote\]'"):
        read_image("memory://bucket/a.png")


class Counting(fsspec.AbstractFileSystem):
    """A file system that counts how many files are read at once."""

    protocol = "counting"
    lock, now, most = threading.Lock(), 0, 0

    def _open(self, path, *arguments, **options):
        with Counting.lock:
            Counting.now += 1
            Counting.most = max(Counting.most, Counting.now)
        time.sleep(0.002)
        with Counting.lock:
            Counting.now -= 1
        return io.BytesIO(png(1))


def test_as_many_files_are_read_at_once_as_there_are_threads():
    fsspec.register_implementation("counting", Counting, clobber=True)
    urls = [f"counting://bucket/{n}.png" for n in range(40)]
    assert len(set(image_digests(urls, threads=3, decode=True))) == 1
    assert Counting.most <= 3
