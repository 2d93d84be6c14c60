"""Reads files and members of zip and tar archives: thread-safe and within bounds."""

import contextlib
import functools
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib

from dml.errors import DataError

MOST_BYTES = 2**29  # the most that a file or member may have
ENCRYPTED = 1  # the flag of a member
HEADER = struct.Struct("<4s22xHH")  # before a member: signature, lengths of its name and extras
DAMAGE = (  # what Python's readers raise for damaged archives
    ArithmeticError,  # places beyond 64 bits
    EOFError,
    IndexError,
    MemoryError,  # more bytes claimed than there are
    RuntimeError,  # encrypted, or packed in a way that Python lacks
    ValueError,
    lzma.LZMAError,
    struct.error,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
)


@contextlib.contextmanager
def naming_damage(path, what):
    """Converts the errors that a damaged archive raises to a DataError."""
    try:
        yield
    except DAMAGE as error:
        raise DataError(path, f"{what}: {error or type(error).__name__}") from None


def read_file(path):
    """Returns the bytes of a regular file.

    Raises:
        OSError: It is missing, or can't be read.
        DataError: It is not a regular file, or too large.
    """
    require_regular(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        check_size(path, size)
        return file.read(size)  # /proc/kmsg, whose size is 0, never ends


def require_regular(path):
    """Raises an error for pipes, devices, sockets and folders; opening some of them never returns.

    Returns:
        Its `os.stat_result`.

    Raises:
        OSError: It is missing.
        DataError: It is not a regular file.
    """
    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode):
        raise DataError(path, "not a regular file")
    return status


def check_size(path, count):
    """Raises an error for more bytes than an image may have."""
    if count > MOST_BYTES:
        raise DataError(path, f"{count:,} bytes: a file may have at most {MOST_BYTES // 2**20} MiB")


def zip_members(path):
    """Returns {name: `zipfile.ZipInfo`} of a zip.

    Raises:
        OSError: It is missing, or can't be read.
        DataError: It is damaged, or not a regular file.
    """
    status = require_regular(path)
    return zip_directory(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def zip_directory(path, size, time):
    """Returns the members of a zip of this size and time."""
    with naming_damage(path, "not a zip archive, or truncated"), zipfile.ZipFile(path) as archive:
        return {member.filename: member for member in archive.infolist()}


def tar_members(path):
    """Returns {name: (offset, length)} of the files in an uncompressed tar, in order.

    Raises:
        OSError: It is missing, or can't be read.
        DataError: It is damaged, or not a regular file.
    """
    status = require_regular(path)
    return tar_directory(path, status.st_size, status.st_mtime_ns)


@functools.lru_cache(maxsize=64)
def tar_directory(path, size, time):
    """Returns the members of a tar of this size and time."""
    return read_tar_directory(path)


def read_tar_directory(path):
    """Returns `tar_members`, which are not kept for the next call.

    Raises:
        OSError, DataError: As for `tar_members`.
    """
    status = require_regular(path)
    with (
        naming_damage(path, "not an uncompressed tar archive"),
        tarfile.open(path, "r:") as archive,
    ):
        members = {m.name: (m.offset_data, m.size) for m in archive if m.isfile()}
        if 0 < status.st_size - archive.offset < tarfile.BLOCKSIZE:  # of a header
            raise tarfile.ReadError("truncated")
        return members


def read_zip_member(path, name):
    """Returns the bytes of a member of a zip, on a file handle of its own.

    An open `zipfile.ZipFile` is not thread-safe: in some releases of Python 3.12 to 3.14 one thread
    moves the file position from which another reads (python/cpython#127847).

    Raises:
        KeyError: There is no such member.
        OSError, DataError: As for `zip_members`; or the member is damaged or too large.
    """
    member = zip_members(path)[name]
    check_size(path, max(member.file_size, member.compress_size))
    with naming_damage(path, "the member is damaged"):
        plain = member.compress_type in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
        if not plain or member.flag_bits & ENCRYPTED:  # rare; reads the whole directory again
            with zipfile.ZipFile(path) as archive, archive.open(member) as opened:
                return opened.read(member.file_size)
        with open(path, "rb") as file:
            file.seek(member.header_offset)
            header = file.read(HEADER.size)
            if len(header) < HEADER.size or header[:4] != b"PK\x03\x04":
                raise zipfile.BadZipFile("the archive has changed, or is corrupt")
            _, *lengths = HEADER.unpack(header)
            file.seek(sum(lengths), os.SEEK_CUR)
            data = file.read(member.compress_size)
        if member.compress_type == zipfile.ZIP_DEFLATED:
            data = zlib.decompressobj(-zlib.MAX_WBITS).decompress(data, member.file_size + 1)
        if len(data) != member.file_size or zlib.crc32(data) != member.CRC:
            raise zipfile.BadZipFile("its length or its checksum is wrong")
        return data


def read_tar_member(path, name):
    """Returns the bytes of a member of an uncompressed tar.

    Raises:
        KeyError: There is no such member.
        OSError, DataError: As for `tar_members`; or the member is too large, or truncated.
    """
    return read_tar_part(path, *tar_members(path)[name])


def read_tar_part(path, start, length):
    """Returns the bytes at a place in an uncompressed tar, as `tar_members` gives it.

    Raises:
        OSError: The tar is missing, or can't be read.
        DataError: It is not a regular file, or ends early; or the part is too large.
    """
    require_regular(path)
    check_size(path, length)
    with open(path, "rb") as file:
        file.seek(start)
        data = file.read(length)
    if len(data) < length:
        raise DataError(path, "the archive has changed, or is truncated")
    return data
