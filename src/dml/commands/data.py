"""`dml data`: checks a data set on the disk, or downloads it."""

import argparse
import errno
import hashlib
import http.client
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dml._storage.atomic import put_in_place
from dml._storage.places import data_folder
from dml.commands._command import Command
from dml.images import ImageError, ImageRef
from dml.recipe import load_dataset
from dml.reporting import Reporter

NAMED = 10  # files named for each kind of fault; the rest are counted
SIDES = (64, 128, 192, 256, 384, 512, 768, 1024, 2048)
CHUNK = 1 << 20


def run(action, name, flags, report=print):
    """Checks or downloads a data set.

    Args:
        action: `check` or `get`.
        name: A data set's name, or a folder of class folders.
        flags: `--dataset.option value` as a flat list of strings.
        report: Called with each line of text for the user.

    Raises:
        ValueError, OSError: A name, a file, a download or some of the images are at fault.
    """
    dataset = load_dataset(name, flags)
    (check if action == "check" else get)(dataset, report)


@dataclass(frozen=True)
class Scan:
    """What one image of a data set is like: its digests and size, or why it can't be read."""

    data: bytes = b""
    pixels: bytes = b""
    size: tuple = ()
    fault: str = ""


def check(dataset, report=print, threads=2):
    """Reports counts, unreadable images, lone images, exact duplicates and sizes.

    Args:
        dataset: A part of `dml.datasets`.
        report: Called with each line of text for the user.
        threads: Threads that read; positive.

    Raises:
        ValueError: Images can't be read; the report has named them.
    """
    items = dataset.items()
    report(f"{dataset.name or type(dataset).__name__} ({items.protocol}): {len(items):,} images")
    for split in dict.fromkeys(items.splits.tolist()):
        part = items.select(split)
        report(f"  {split:8} {len(part):>8,} images of {len(part.class_names):,} classes")
    for note in items.notes:
        report(note)
    with ThreadPoolExecutor(threads) as pool:
        scans = list(progress(pool.map(scan, items.paths), "reading", len(items), "images"))
    unreadable = [s.fault for s in scans if s.fault]
    listing("unreadable images", unreadable, report)
    counts = np.bincount(items.labels)
    listing(
        "classes with one image",
        [str(items.class_names[code]) for code in np.flatnonzero(counts == 1)],
        report,
    )
    for line in duplicates(items, scans):
        report(line)
    for line in histogram([s.size for s in scans if s.size]):
        report(line)
    if unreadable:
        raise ValueError(f"{len(unreadable):,} of {len(items):,} images can't be read, as above")


def scan(path):
    """Returns the `Scan` of one image."""
    reference = ImageRef.parse(path)
    try:
        data = reference.read_bytes()
        pixels = reference.decode(data)
    except ImageError as error:
        return Scan(fault=str(error))
    shape = str(pixels.shape).encode()
    return Scan(
        hashlib.sha256(data).digest(),
        hashlib.sha256(shape + np.ascontiguousarray(pixels).tobytes()).digest(),
        pixels.shape[:2],
    )


def listing(title, entries, report):
    """Reports how many entries there are and names the first."""
    report(f"{title}: {len(entries):,}")
    for entry in entries[:NAMED]:
        report(f"  {entry}")
    if len(entries) > NAMED:
        report(f"  and {len(entries) - NAMED:,} more")


def duplicates(items, scans):
    """Yields lines about images that occur twice: as bytes, as pixels, and across splits."""
    for title, digest in (("bytes", "data"), ("decoded pixels", "pixels")):
        groups = defaultdict(list)
        for row, one in enumerate(scans):
            if not one.fault:
                groups[getattr(one, digest)].append(row)
        repeated = [rows for rows in groups.values() if len(rows) > 1]
        leaks = [rows for rows in repeated if len(set(items.splits[rows])) > 1]
        yield (
            f"images with equal {title}: {sum(map(len, repeated)):,} in {len(repeated):,} groups, "
            f"{len(leaks):,} of which lie in more than one split"
        )
        for rows in leaks[:NAMED]:
            yield "  " + ", ".join(f"{items.ids[row]} ({items.splits[row]})" for row in rows)


def histogram(sizes):
    """Yields the lines of a histogram of the images' shorter sides."""
    if not sizes:
        return
    shorter = np.array(sizes).min(axis=1)
    yield f"shorter side: {shorter.min()} to {shorter.max()} pixels"
    places = np.digitize(shorter, SIDES)
    counts = np.bincount(places, minlength=len(SIDES) + 1)
    for place in range(places.min(), places.max() + 1):
        low = SIDES[place - 1] if place else 0
        high = f"-{SIDES[place] - 1}" if place < len(SIDES) else "+"
        bar = "#" * round(40 * counts[place] / counts.max())
        yield f"  {f'{low}{high}':>10} {counts[place]:>8,} {bar}"


def get(dataset, report=print):
    """Downloads a data set's archives, goes on where an earlier attempt ended, and unpacks them.

    Args:
        dataset: A part of `dml.datasets`.
        report: Called with each line of text for the user.

    Raises:
        ValueError: It has no public address, nothing says where to put it, or an archive's
            checksum differs.
        OSError: The server or the disk is at fault; what was downloaded stays.
    """
    if not dataset.archives:
        raise ValueError(
            f"{dataset.name} has no public address to download from"
            + (f": {dataset.source}" if dataset.source else "")
            + (f". It belongs in DML_DATA/{dataset.folders[0]}" if dataset.folders else "")
        )
    if dataset.root:
        folder = Path(dataset.root).expanduser()
    elif data_folder() is not None:
        folder = data_folder() / dataset.folders[0]
    else:
        raise ValueError("where to? Set --dataset.root to a folder, or DML_DATA")
    folder.mkdir(parents=True, exist_ok=True)
    for archive in dataset.archives:
        file = folder / archive.file
        if file.exists() and digest(file, archive.checksum) == archive.checksum:
            report(f"{file} is here already")
        else:
            download(archive, file)
            report(f"downloaded {file}")
        if archive.unpack:
            unpack(file, folder)
            report(f"unpacked {file.name} into {folder}")


def download(archive, file):
    """Fetches an archive into `file`, by way of `file`.part, which a later call continues.

    Raises:
        OSError: The server can't be reached, refuses, or ends early.
        ValueError: The checksum differs.
    """
    partial = file.with_name(file.name + ".part")
    partial.touch()
    try:
        missing = fetch_rest(archive.url, partial)
    except urllib.error.HTTPError as error:
        raise OSError(f"{archive.url}: the server answers {error.code} {error.reason}") from None
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            raise
        reason = getattr(error, "reason", error)
        raise OSError(f"{archive.url}: {reason}; run it again to go on") from None
    if missing:
        raise OSError(
            f"{archive.url}: the connection ended {missing:,} bytes early; run it again to go on"
        )
    if digest(partial, archive.checksum) != archive.checksum:
        partial.unlink()
        raise ValueError(
            f"{archive.url}: the checksum is not {archive.checksum}: damaged on the way, or "
            "another file; run it again"
        )
    put_in_place(partial, file)


def fetch_rest(url, partial):
    """Appends what a file lacks, and returns how many bytes did not come."""
    done = partial.stat().st_size
    request = urllib.request.Request(url, headers={"User-Agent": "dml"})
    if done:
        request.add_header("Range", f"bytes={done}-")
    try:
        response = urllib.request.urlopen(request, timeout=60)
    except urllib.error.HTTPError as error:
        if error.code == 416 and done:  # nothing is left to send
            return 0
        raise
    with response, open(partial, "ab") as output:
        if response.status != 206:  # the server sends the whole file again
            done = 0
            output.truncate(0)
        total = done + int(response.headers.get("Content-Length") or 0)
        chunks = iter(lambda: response.read(CHUNK), b"")
        for chunk in progress(chunks, partial.stem, total, "bytes", done, len):
            output.write(chunk)
            done += len(chunk)
    return max(total - done, 0)


def digest(file, checksum):
    """Returns the checksum of a file, written as `checksum` is: "sha256:..." or "md5:..."."""
    name = checksum.split(":")[0]
    with open(file, "rb") as opened:
        return f"{name}:{hashlib.file_digest(opened, name).hexdigest()}"


def unpack(file, folder):
    """Unpacks a tar or zip file.

    Raises:
        ValueError: It is neither, damaged, or would write outside the folder.
    """
    try:
        if zipfile.is_zipfile(file):
            shutil.unpack_archive(file, folder, "zip")
        else:
            with tarfile.open(file) as opened:
                opened.extractall(folder, filter="data")
    except (tarfile.TarError, zipfile.BadZipFile, EOFError) as error:
        raise ValueError(f"{file}: can't be unpacked: {error}") from None


def progress(steps, title, total, unit, done=0, size=lambda step: 1):
    """Yields the steps and shows how far they are, on a terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,}/{task.total:,} " + unit),
        TimeRemainingColumn(),
    ]
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(title, total=total, completed=done)
        for step in steps:
            yield step
            bar.advance(task, size(step))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", choices=("check", "get"))
    parser.add_argument("name", metavar="DATASET")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    run(options.action, options.name, options.flags, report=reporter.info)


COMMAND = Command(
    "data", "check a data set, or download it", _add_arguments, _run, takes_flags=True
)
