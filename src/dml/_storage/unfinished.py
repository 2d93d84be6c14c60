"""What is done of a long measurement, kept in a folder until all of it is."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np

from dml._storage.atomic import atomic_path
from dml._storage.locks import locked

LOCK = ".lock"
DIGEST = hashlib.sha256().digest_size


@contextlib.contextmanager
def measuring(folder):
    """Keeps a measurement's folder to one process; removes it when the block ends without error.

    A block that fails leaves the finished parts.

    Args:
        folder: Where parts are kept; made if need be.

    Raises:
        ValueError: Another process holds it, or it is a link.
    """
    folder = Path(folder)
    if folder.is_symlink():
        raise ValueError(f"{folder}: a link, where finished parts are to be kept; remove it")
    with locked(folder / LOCK, folder):
        try:
            yield
        except BaseException:
            if not any(folder.glob("*.part")):
                remove_folder(folder)
            raise
        remove_folder(folder)


def remove_folder(folder):
    """Removes a folder, whose name is free at once."""
    aside = tempfile.mkdtemp(prefix=".writing-", dir=Path(folder).parent)
    try:
        os.rename(folder, aside)
    finally:
        shutil.rmtree(aside)


class Unfinished:
    """Keeps the arrays of each finished part, so that a measurement that was stopped goes on.

    A part belongs to what was measured, its arrays and options; those of another measurement are
    not taken for its own.

    Args:
        folder: Where parts are kept; made if need be.
        arrays: What is measured: NumPy arrays.
        options: What else decides the result; anything that JSON takes.
    """

    def __init__(self, folder, arrays, options):
        self.folder = Path(folder)
        self.was_known = False  # whether the last part had been done before
        digest = hashlib.sha256(json.dumps(options).encode())
        for array in arrays:
            digest.update(str((array.dtype, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        self.measured = digest.hexdigest()[:16]

    def part(self, number, compute):
        """Returns the arrays of a part: those that are kept, or what `compute()` returns."""
        file = self.folder / f"{self.measured}-{number:06}.part"
        found = read_part(file)
        self.was_known = found is not None
        if not self.was_known:
            found = compute()
            write_part(file, found)
        return found


class UnfinishedRows:
    """Keeps rows of numbers, each under the key of what it was measured of.

    Parts are of any size and in any order: what a row belongs to is its key alone.

    Args:
        folder: Where parts are kept; made if need be.
    """

    def __init__(self, folder):
        self.folder = Path(folder)

    def take(self, keys, rows):
        """Fills in the rows that are kept, and returns which these are, booleans (N,).

        Args:
            keys: N texts of one length, or None where a row has none.
            rows: The array (N, D) to fill.
        """
        places = {}
        for place, key in enumerate(keys):
            if key is not None:
                places.setdefault(key, []).append(place)
        known = np.zeros(len(keys), bool)
        for file in self.folder.glob("*.part"):
            found = read_part(file)
            if found is None:
                continue
            for key, row in zip(found[0].tolist(), found[1], strict=True):
                if key in places:
                    rows[places[key]], known[places[key]] = row, True
        return known

    def keep(self, keys, rows):
        """Keeps rows (N, D) under N keys; those without a key are not kept."""
        has = [place for place, key in enumerate(keys) if key is not None]
        if has:
            kept = np.array([keys[place] for place in has])
            name = hashlib.sha256(kept.tobytes()).hexdigest()[:32]
            write_part(self.folder / f"{name}.part", (kept, rows[has]))


def write_part(path, arrays):
    """Writes the arrays of a part, behind the digest of their bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    data = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)


def read_part(path):
    """Returns the arrays of a part; None where there is none, or it is damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, data = data[:DIGEST], data[DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    with np.load(io.BytesIO(data)) as arrays:
        return tuple(arrays[name] for name in arrays.files)
