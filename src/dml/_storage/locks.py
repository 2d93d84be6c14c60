"""Locks of files and folders that one process at a time may write."""

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

from dml.errors import BusyError, StorageError


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], what: str | os.PathLike[str]) -> Iterator[None]:
    """Holds a lock while the block runs; it is also released when the process ends.

    Args:
        path: The lock file, created if missing. It is kept, and names the process that held it
            last.
        what: What the lock protects, for the message.

    Raises:
        BusyError: Another process, or this one, holds the lock.
        StorageError: There is a link, or something else that is not a regular file, at `path`.
        OSError: The file can't be written.
    """
    handle = _acquire(Path(path), what)
    try:
        yield
    finally:
        os.close(handle)


def _acquire(path, what):
    """Returns the handle of the locked file that is at `path`."""
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        # In an untrusted folder, a link or a pipe may lead to a file that is not dml's.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            handle = os.open(path, flags, 0o666)
        except FileNotFoundError:  # its folder was removed meanwhile
            continue
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise StorageError(f"{path}: a link, where a lock is to be; remove it") from None
            raise
        try:
            if not stat.S_ISREG(os.fstat(handle).st_mode):
                raise StorageError(f"{path}: not a regular file; remove it")
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(path, handle):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {socket.gethostname()}".encode())
                return handle
        except BlockingIOError:
            holder = os.pread(handle, 200, 0).decode("utf-8", "replace") or "another process"
            os.close(handle)
            raise BusyError(
                f"{what}: {holder} is writing it; try again when it has ended"
            ) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the file was removed between opening and locking it


def _is_at(path, handle):
    """Returns whether an open file is still the one at `path`."""
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except FileNotFoundError:
        return False
