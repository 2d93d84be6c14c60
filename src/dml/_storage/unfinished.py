"""Finished parts of a long measurement, kept in a folder until the whole is finished."""

import contextlib
import hashlib
import io
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dml._storage.atomic import atomic_path, naming
from dml._storage.locks import locked
from dml.errors import DataError

LOCK = ".lock"
DIGEST = hashlib.sha256().digest_size


@contextlib.contextmanager
def measuring(
    folder: str | os.PathLike[str], output: str | os.PathLike[str] | None = None
) -> Iterator[None]:
    """Locks the folder of a measurement, and removes it when the block ends without error.

    A block that fails leaves the finished parts.

    Args:
        folder: Where parts are kept; made if need be.
        output: What is measured for, which messages name; by default the folder.

    Raises:
        BusyError: Another process uses it.
        DataError: It is a link.
        StorageError: It can't be written.
    """
    folder = Path(folder)
    if folder.is_symlink():
        raise DataError(folder, "a link, where finished parts are to be kept; remove it")
    with contextlib.ExitStack() as stack:
        with naming(output or folder):
            stack.enter_context(locked(folder / LOCK, folder))
        try:
            yield
        except BaseException:
            if not any(folder.glob("*.part")):
                remove_folder(folder)
            raise
        remove_folder(folder)


def remove_folder(folder: Path) -> None:
    """Removes a folder so that its name is free at once."""
    aside = tempfile.mkdtemp(prefix=".writing-", dir=Path(folder).parent)
    try:
        os.rename(folder, aside)
    finally:
        shutil.rmtree(aside)


class Unfinished:
    """Keeps the arrays of each finished part, so that an interrupted measurement can continue.

    A part is stored under a digest of the arrays and options that were measured, so that parts of
    another measurement are not used.

    Args:
        folder: Where parts are kept; made if need be.
        arrays: The arrays that are measured.
        options: Everything else that affects the result; anything that JSON takes.
    """

    def __init__(self, folder: str | os.PathLike[str], arrays: Iterable[np.ndarray], options: Any):
        self.folder = Path(folder)
        self.was_known = False  # whether the last part had been kept before
        digest = hashlib.sha256(json.dumps(options).encode())
        for array in arrays:
            digest.update(str((array.dtype, array.shape)).encode())
            digest.update(np.ascontiguousarray(array).data)
        self.measured = digest.hexdigest()[:16]

    def part(
        self, number: int, compute: Callable[[], tuple[np.ndarray, ...]]
    ) -> tuple[np.ndarray, ...]:
        """Returns the arrays of a part: the kept ones, or those that `compute()` returns."""
        file = self.folder / f"{self.measured}-{number:06}.part"
        found = read_part(file)
        self.was_known = found is not None
        if found is None:
            found = compute()
            write_part(file, found)
        return found


class UnfinishedRows:
    """Keeps rows of numbers, each under a key that identifies what was measured.

    Parts may have any size and order: only the keys count.

    Args:
        folder: Where parts are kept; made if need be.
    """

    def __init__(self, folder: str | os.PathLike[str]):
        self.folder = Path(folder)

    def take(self, keys: Sequence[str | None], rows: np.ndarray) -> np.ndarray:
        """Fills in the kept rows, and returns which these are as booleans (N,).

        Args:
            keys: N texts of one length; None for a row without a key.
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

    def keep(self, keys: Sequence[str | None], rows: np.ndarray) -> None:
        """Keeps rows (N, D) under N keys; those without a key are not kept."""
        has = [place for place, key in enumerate(keys) if key is not None]
        if has:
            kept = np.array([keys[place] for place in has])
            name = hashlib.sha256(kept.tobytes()).hexdigest()[:32]
            write_part(self.folder / f"{name}.part", (kept, rows[has]))


def write_part(path: Path, arrays: Iterable[np.ndarray]) -> None:
    """Writes the arrays of a part, preceded by the digest of their bytes."""
    buffer = io.BytesIO()
    np.savez(buffer, *arrays)
    data = buffer.getvalue()
    with atomic_path(path) as temporary:
        temporary.write_bytes(hashlib.sha256(data).digest() + data)


def read_part(path: Path) -> tuple[np.ndarray, ...] | None:
    """Returns the arrays of a part; None if it is missing or damaged."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    digest, data = data[:DIGEST], data[DIGEST:]
    if hashlib.sha256(data).digest() != digest:
        return None
    with np.load(io.BytesIO(data)) as arrays:
        return tuple(arrays[name] for name in arrays.files)
