"""Files at URLs, such as s3://, gs://, https:// and memory://, read through fsspec."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

from dml._storage.archives import MOST_BYTES, check_size
from dml.errors import DataError, PackageError

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # a drive of Windows has a single letter
_LOCAL = re.compile(r"(?:file|local)://", re.IGNORECASE)
_EXTRAS = {  # of dml, by the start of a URL
    "http": "remote",
    "https": "remote",
    "memory": "remote",
    "s3": "s3",
    "s3a": "s3",
    "gs": "gs",
    "gcs": "gs",
}


def is_url(path: str) -> bool:
    """Returns whether a path is a URL."""
    return _URL.match(path) is not None


def local_path(path: str) -> str:
    """Returns the path of the file that a URL, file://..., means; other paths unchanged."""
    return _LOCAL.sub("", path, count=1)


def read_url(url: str) -> bytes:
    """Returns the bytes of a file at a URL. Safe to call from threads.

    Each call reads one file, on one connection of fsspec's file system for the URL, which all
    threads share. Credentials are those that its package finds.

    Args:
        url: A URL that fsspec takes, not chained (`::`).

    Raises:
        FileNotFoundError: There is no such file.
        PackageError: fsspec, or the package that it needs for this URL, is missing.
        DataError: It can't be read, or is too large.
    """
    if "::" in url:  # such as simplecache::s3://..., which writes files, or reference::
        raise DataError(url, "chained URLs (::) are not read")
    with _named_errors(url):
        import fsspec

        system, path = fsspec.core.url_to_fs(url)
        with system.open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    check_size(url, len(data))
    return data


@contextmanager
def _named_errors(url) -> Iterator[None]:
    """Converts the errors of fsspec and of the packages that it uses to an error of one line."""
    try:
        yield
    except FileNotFoundError as error:
        cause = error.__cause__
        if cause is None or isinstance(cause, FileNotFoundError):
            raise
        raise DataError(url, _line(cause)) from None  # such as a server that does not answer
    except ImportError as error:
        reason = "fsspec is missing" if error.name == "fsspec" else _line(error)
        extra = _EXTRAS.get(url.partition(":")[0].lower())
        advice = f". pip install 'dml[{extra}]'" if extra else ""
        raise PackageError(f"{url} needs another package: {reason}{advice}") from None
    except Exception as error:  # each package has errors of its own
        raise DataError(url, _line(error)) from None


def _line(error):
    """Returns an error in one line."""
    return " ".join(str(error).split())[:300] or type(error).__name__
