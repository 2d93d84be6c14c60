"""Files and folders written completely or not at all, and durably."""

import contextlib
import errno
import glob
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from dml._storage.locks import locked
from dml.errors import BusyError, DataError, DmlError, OccupiedError, StorageError

HELD = ".writing"  # the lock in a folder that is being written
EXISTS = "already exists: remove it or choose another --out"


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary path next to `path`, renamed to `path` if the block ends without error.

    A reader sees the old file or the new one, never a partial one, even after a power failure; a
    full disk leaves the old one. The temporary name keeps the suffix, by which Keras and NumPy
    choose the format.

    Raises:
        OccupiedError: `path` is a folder.
        StorageError: The disk is full, or the folder of `path` can't be written.
    """
    path = Path(path)
    if path.is_dir():
        raise OccupiedError(path, "is a folder, where a file is to be written")
    with naming(path):
        make_folder(path.parent)
        handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=path.name, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        put_in_place(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise StorageError(
                f"{path}: {error.strerror}; the old file, if any, is unchanged. Make room and try "
                "again"
            ) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


@contextlib.contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """Names the path that the user gave, rather than a temporary one, if it can't be written.

    Raises:
        StorageError: In place of any error of the system.
    """
    try:
        yield
    except DmlError:
        raise
    except OSError as error:
        raise StorageError(f"{path}: can't be written: {error.strerror}") from error


def put_in_place(temporary: str | os.PathLike[str], path: str | os.PathLike[str]) -> None:
    """Renames a complete file, so that its bytes and its name survive a power failure."""
    sync(temporary)
    os.replace(temporary, path)
    sync(Path(path).parent)


def make_folder(path: str | os.PathLike[str]) -> None:
    """Creates a folder and its parents, so that they survive a power failure."""
    path = Path(path)
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(missing):
        sync(folder.parent)


@contextlib.contextmanager
def new_folder(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Yields a temporary folder next to `path`, renamed to `path` if the block ends without error.

    Temporary folders that killed processes have left are removed.

    Raises:
        OccupiedError: `path` exists already.
        StorageError: The folder of `path` can't be written.
    """
    path = Path(path)
    if path.exists():
        raise OccupiedError(path, EXISTS)
    with naming(path):
        make_folder(path.parent)
    for left in path.parent.glob(f".writing-{'?' * 8}{glob.escape(path.name)}"):
        _remove_left(left)
    with naming(path):
        temporary = Path(tempfile.mkdtemp(prefix=".writing-", suffix=path.name, dir=path.parent))
    try:
        with locked(temporary / HELD, str(path)):
            yield temporary
            (temporary / HELD).unlink()
            temporary.chmod(0o777 & ~_umask())
            for folder, _, files in os.walk(temporary):
                for name in files:
                    sync(os.path.join(folder, name))
                sync(folder)
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # made meanwhile
                    raise OccupiedError(path, EXISTS) from None
                raise
        sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_left(folder):
    """Removes a temporary folder of `new_folder` whose process has ended."""
    with contextlib.suppress(FileNotFoundError, BusyError):  # removed meanwhile, or in use
        if time.time() - folder.stat().st_mtime > 60:  # not one that is being made or renamed now
            with locked(folder / HELD, str(folder)):
                shutil.rmtree(folder)


def sync(path: str | os.PathLike[str]) -> None:
    """Waits until a file's bytes, or a folder's names, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask():
    mask = os.umask(0)
    os.umask(mask)
    return mask


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Writes `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_regular(path: str | os.PathLike[str], links: bool = True) -> None:
    """Raises an error unless a path is a regular file: reading a pipe or a device may never end.

    Args:
        path: The file.
        links: Whether it may be a link to one.

    Raises:
        DataError: It is not a regular file.
    """
    if not stat.S_ISREG(os.stat(path, follow_symlinks=links).st_mode):
        raise DataError(path, "not a regular file")


def without_links(path: str, flags: int) -> int:
    """Opens a file that is not a link; an opener for `open`."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
