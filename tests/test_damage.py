"""Damaged images, lists and archives give an image or a table, or one line with the reason."""

import io
import random
import resource
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml._console.terminal import printable
from dml._storage.archives import tar_members, zip_members
from dml.datasets import Parquet, Table, WebDataset
from dml.encoding._sources import image_table
from dml.images import read_image
from dml.images._files import FORMATS, LeftOut
from tests.damage import damaged

pytestmark = pytest.mark.slow

SECONDS = 60  # of a processor, within which any machine reads a file of some kilobytes
MEMORY = 3 * 2**30  # bytes beyond what is there before
WORDS = (b"", b"\xff" * 4, b"\0" * 4, b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"9" * 19, b",\n")


def picture(transparent=False, deep=False):
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (40, 48, 4), dtype="uint8"), (5, 5), 2)
    image = image if transparent else image[..., :3]
    return image.astype("uint16") * 257 if deep else image


def images():
    """Yields (suffix, bytes) of every format in several kinds."""
    for suffix in sorted(FORMATS):
        if suffix not in (".jfif", ".jpe", ".jpeg", ".tif", ".pnm"):  # the same as others
            image = picture()[..., 0] if suffix in (".pgm", ".pbm") else picture()
            yield suffix, cv2.imencode(suffix, image)[1].tobytes()
    for suffix in (".png", ".webp", ".tiff", ".avif", ".gif"):
        yield suffix, cv2.imencode(suffix, picture(transparent=True))[1].tobytes()
    for suffix in (".png", ".tiff"):
        yield suffix, cv2.imencode(suffix, picture(True, True))[1].tobytes()
    progressive = (cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 4)
    yield ".jpg", cv2.imencode(".jpg", picture(), progressive)[1].tobytes()


def archive(kind):
    """Returns the bytes of an archive of images, of which some are packed."""
    data, members = io.BytesIO(), {f"{n}.png": cv2.imencode(".png", picture())[1].tobytes()
                                   for n in range(3)}  # fmt: skip
    members["0.cls"] = b"cat"
    if kind == "zip":
        packings = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
        with zipfile.ZipFile(data, "w") as opened:
            for (name, member), packing in zip(members.items(), packings, strict=True):
                opened.writestr(name, member, packing)
    else:
        with tarfile.open(fileobj=data, mode="w", format=tarfile.PAX_FORMAT) as opened:
            for name, member in members.items():
                header = tarfile.TarInfo(name if name != "1.png" else 120 * "n" + "/1.png")
                header.size = len(member)
                opened.addfile(header, io.BytesIO(member))
    return data.getvalue()


def read_archive(path):
    if path.suffix == ".tar":
        for read in (lambda: image_table([path], LeftOut()), WebDataset(root=str(path)).items):
            try:
                read()
            except (ValueError, OSError) as error:
                one_line(error)
    members = zip_members(path) if path.suffix == ".zip" else tar_members(path)
    for name in list(members)[:4]:
        try:
            read_image(f"{path}!{name}")
        except ValueError as error:
            one_line(error)


def lists():
    """Returns {suffix: bytes} of lists of images."""
    frame = pd.DataFrame(
        {"path": [f"images/{n}.png" for n in range(40)], "label": [f"é{n % 5}" for n in range(40)]}
    )
    frame = frame.assign(split=["train", "test"] * 20, price=np.arange(40) / 3, n=range(40))
    found = {".csv": frame.to_csv(index=False).encode()}
    for name, packing in {".parquet": "snappy", ".zstd.parquet": "zstd"}.items():
        data = io.BytesIO()
        frame.to_parquet(data, compression=packing)
        found[name] = data.getvalue()
    return found


def read_list(path):
    for read in (lambda: image_table([path], LeftOut()), Table(root=str(path)).items):
        try:
            read()
        except (ValueError, OSError) as error:
            one_line(error)


def one_line(error):
    """Sees to it that an error says something that can be printed."""
    assert printable(str(error)).strip(), repr(error)


def cells():
    """Returns {suffix: bytes} of files with images in their cells."""
    images = [cv2.imencode(".png", picture())[1].tobytes() for _ in range(9)]
    values = pa.array([{"bytes": data, "path": "a.png"} for data in images])
    table = pa.table({"image": values, "label": [f"é{n % 3}" for n in range(9)]})
    found = {}
    for name, packing in {".parquet": "snappy", ".zstd.parquet": "zstd"}.items():
        pq.write_table(table, data := io.BytesIO(), compression=packing, row_group_size=4)
        found[name] = data.getvalue()
    for packing in (None, "zstd"):
        data = io.BytesIO()
        options = pa.ipc.IpcWriteOptions(compression=packing)
        with pa.ipc.new_stream(data, table.schema, options=options) as writer:
            writer.write_table(table, max_chunksize=4)
        found[f"{packing or ''}.arrow"] = data.getvalue()
    return found


def read_cells(path):
    for path_of_image in Parquet(root=str(path), test_fraction=0.0).items().paths:
        try:
            read_image(path_of_image)
        except ValueError as error:
            one_line(error)


KINDS = {
    "images": (lambda: [(s, d, read_image) for s, d in images()], 90),
    "zip": (lambda: [(".zip", archive("zip"), read_archive)], 400),
    "tar": (lambda: [(".tar", archive("tar"), read_archive)], 250),
    "cells": (lambda: [(s, d, read_cells) for s, d in cells().items()], 150),
    "lists": (lambda: [(s, d, read_list) for s, d in lists().items()], 60),
}


def damage(kind, folder, seed=0):
    """Reads many damaged files of a kind; returns what was wrong."""
    make, trials = KINDS[kind]
    rng, faults = random.Random(seed), []
    for suffix, data, read in make():
        for trial in range(trials):
            broken = damaged(rng, data)
            if trial % 4 == 0:  # in the header, where sizes stand
                place = rng.randrange(min(len(data), 200))
                broken = data[:place] + rng.choice(WORDS) + data[place + 4 :]
            path = Path(folder) / f"{trial}{suffix}"
            path.write_bytes(broken)
            started = time.process_time()
            try:
                read(path)
            except (ValueError, OSError) as error:
                one_line(error)
            except BaseException as error:
                faults.append(f"{suffix}, trial {trial}: {error!r}")
            if (took := time.process_time() - started) > SECONDS:
                faults.append(f"{suffix}, trial {trial}: {took:.1f} s")
            path.unlink()
    return faults


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_named(kind, tmp_path):
    command = [sys.executable, "-m", "tests.test_damage", kind, str(tmp_path)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert ended.returncode == 0, ended.stdout[-2000:] + ended.stderr[-2000:]


if __name__ == "__main__":
    kind, folder = sys.argv[1:]
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    found = damage(kind, folder)
    print("\n".join(found))
    sys.exit(bool(found))
