"""Downloads the archives of a data set, continues interrupted downloads, and unpacks them."""

import errno
import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from pathlib import Path

from dml._storage.atomic import make_folder, put_in_place
from dml._storage.places import data_folder, expanded
from dml.datasets.base import Archive, DatasetPart
from dml.errors import DataError, OptionError, StorageError
from dml.reporting import SILENT, Reporter

CHUNK = 1 << 20  # bytes
SECONDS = 60  # without a byte from the server


def download(dataset: DatasetPart, reporter: Reporter = SILENT) -> Path:
    """Downloads a data set's archives, continues an interrupted download, and unpacks them.

    Args:
        dataset: The data set.
        reporter: Shows the progress, and a line for each archive.

    Returns:
        The folder of the data set: its `root`, or one in the folder that DML_DATA names.

    Raises:
        DataError: The data set has no public address, or an archive is damaged.
        OptionError: Neither `root` nor DML_DATA is set.
        StorageError: The server can't be reached, or the disk is full; what was downloaded stays.
    """
    if not dataset.archives:
        raise DataError(
            dataset.name,
            "no public address to download from"
            + (f": {dataset.source}" if dataset.source else "")
            + (f". It belongs in DML_DATA/{dataset.folders[0]}" if dataset.folders else ""),
        )
    if dataset.root:
        folder = expanded(dataset.root)
    elif (data := data_folder()) is not None:
        folder = data / dataset.folders[0]
    else:
        raise OptionError("dataset.root", "must name the folder to write, or DML_DATA its parent")
    make_folder(folder)
    for archive in dataset.archives:
        file = folder / archive.file
        if file.exists() and _checksum(file, archive.checksum) == archive.checksum:
            reporter.info(f"{file} exists already")
        else:
            _fetch(archive, file, reporter)
            reporter.info(f"downloaded {file}")
        if archive.unpack:
            _unpack(file, folder)
            reporter.info(f"unpacked {file.name} into {folder}")
    return folder


def _fetch(archive: Archive, file: Path, reporter: Reporter) -> None:
    """Downloads an archive into `file`.part, which a later call continues, then renames it."""
    partial = file.with_name(file.name + ".part")
    partial.touch()
    try:
        missing = _fetch_rest(archive.url, partial, reporter)
    except urllib.error.HTTPError as error:
        raise StorageError(
            f"{archive.url}: the server answers {error.code} {error.reason}"
        ) from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = getattr(error, "reason", error)
        raise StorageError(f"{archive.url}: {reason}; run it again to continue") from None
    if missing:
        raise StorageError(
            f"{archive.url}: the connection ended {missing:,} bytes early; run it again to continue"
        )
    if _checksum(partial, archive.checksum) != archive.checksum:
        partial.unlink()
        raise DataError(
            archive.url,
            f"the checksum is not {archive.checksum}: the download was damaged, or is a "
            "different file; run it again",
        )
    put_in_place(partial, file)


def _fetch_rest(url: str, partial: Path, reporter: Reporter) -> int:
    """Appends the missing bytes to a file, and returns how many did not arrive."""
    done = partial.stat().st_size
    request = urllib.request.Request(url, headers={"User-Agent": "dml"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing is left to send
            return 0
        raise
    with response, open(partial, "ab") as output:
        if response.status != 206:  # the server sends the whole file again
            done = 0
            output.truncate(0)
        total = done + int(response.headers.get("Content-Length") or 0)
        with reporter.progress(partial.stem, total, "bytes", done) as advance:
            while chunk := response.read(CHUNK):
                output.write(chunk)
                done += len(chunk)
                advance(len(chunk))
    return max(total - done, 0)


def _checksum(file: Path, like: str) -> str:
    """Returns the checksum of a file in the form of another: "sha256:..." or "md5:..."."""
    name = like.split(":")[0]
    with open(file, "rb") as opened:
        return f"{name}:{hashlib.file_digest(opened, name).hexdigest()}"


def _unpack(file: Path, folder: Path) -> None:
    """Unpacks a tar or zip file.

    Raises:
        DataError: It is neither, damaged, or would write outside the folder.
    """
    try:
        if zipfile.is_zipfile(file):
            shutil.unpack_archive(file, folder, "zip")
        else:
            with tarfile.open(file) as opened:
                opened.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise DataError(file, f"can't be unpacked: {error}") from None
