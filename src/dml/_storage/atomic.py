"""Files and folders written whole or not at all."""

import contextlib
import errno
import glob
import os
import shutil
import stat
import tempfile
import time
from pathlib import Path

from dml._storage.locks import locked

HELD = ".writing"  # the lock in a folder that is being written


@contextlib.contextmanager
def atomic_path(path):
    """Yields a temporary path beside `path`, renamed to `path` when the block ends without error.

    A reader sees the old file or the new one, never half of one, even after a power failure; a
    full disk leaves the old one. The temporary name keeps the suffix, which Keras and NumPy go by.
    """
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder, where a file is to be written")
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=".writing-", suffix=path.name, dir=path.parent)
    os.close(handle)
    try:
        yield Path(temporary)
        os.chmod(temporary, 0o666 & ~_umask())
        put_in_place(temporary, path)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise OSError(
                f"{path}: {error.strerror}; what was there before is whole. Make room and try again"
            ) from error
        raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def put_in_place(temporary, path):
    """Renames a file that is done, so that its bytes and its name survive a power failure."""
    _sync(temporary)
    os.replace(temporary, path)
    _sync(Path(path).parent)


@contextlib.contextmanager
def new_folder(path):
    """Yields a temporary folder beside `path`, renamed to `path` if the block ends without error.

    What a killed process has left of another attempt is removed.

    Raises:
        FileExistsError: There is something at `path`.
    """
    path = Path(path)
    there = f"{path} is there already: remove it or choose another --out"
    if path.exists():
        raise FileExistsError(there)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".writing-{'?' * 8}{glob.escape(path.name)}"):
        _remove_left(left)
    temporary = Path(tempfile.mkdtemp(prefix=".writing-", suffix=path.name, dir=path.parent))
    try:
        with locked(temporary / HELD, str(path)):
            yield temporary
            (temporary / HELD).unlink()
            temporary.chmod(0o777 & ~_umask())
            for folder, _, files in os.walk(temporary):
                for name in files:
                    _sync(os.path.join(folder, name))
                _sync(folder)
            try:
                os.rename(temporary, path)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST):  # made meanwhile
                    raise FileExistsError(there) from None
                raise
        _sync(path.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _remove_left(folder):
    """Removes a temporary folder of `new_folder` whose process is dead."""
    with contextlib.suppress(FileNotFoundError, ValueError):  # gone, or held
        if time.time() - folder.stat().st_mtime > 60:  # not one that is being made or renamed now
            with locked(folder / HELD, str(folder)):
                shutil.rmtree(folder)


def _sync(path):
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


def write_text(path, text):
    """Writes `text` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_regular(path, links=True):
    """Raises ValueError where there is no regular file: a pipe or device would be read for ever.

    Args:
        path: The file.
        links: Whether it may be a link to one.
    """
    if not stat.S_ISREG(os.stat(path, follow_symlinks=links).st_mode):
        raise ValueError(f"{path}: not a regular file")


def without_links(path, flags):
    """Opens a file that is no link; for `open`."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)
