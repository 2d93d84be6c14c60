"""A folder with rows of numbers, each under a key, that is read as a memory map."""

import hashlib
import os
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from dml._storage.atomic import atomic_path, check_regular
from dml._storage.records import misfit, read_sealed, sha256, write_sealed
from dml.errors import DataError

SCHEMA = 1
MANIFEST = "rows.json"
FILE = re.compile(r"rows-[0-9a-f]{16}\.bin")
HINT = "it is computed again"


class KeyedRows:
    """Names the files of the rows, writes them whole and detects damage.

    Args:
        folder: Where they are; made when they are written.
        dtype: The type of the numbers: `float16` or `float32`.
        shape: The shape of a row.
    """

    def __init__(self, folder: str | os.PathLike[str], dtype: str, shape: tuple[int, ...]):
        self.folder = Path(folder)
        self.manifest = self.folder / MANIFEST
        self.dtype = dtype
        self.shape = shape
        self.record = np.dtype([("key", "S32"), ("values", dtype, shape)])

    def read(self) -> np.ndarray | None:
        """Returns the rows, read-only: an array (N,) of fields `key` and `values`.

        None if there are none, or of other numbers or another shape.

        Raises:
            DataError: A file is damaged.
        """
        try:
            held = read_sealed(self.manifest, SCHEMA, HINT)
            if misfit(held, {"file": str, "file_sha256": str, "rows": int, "dtype": str}):
                raise DataError(self.manifest, f"damaged; {HINT}")
            if (held["dtype"], held.get("shape")) != (self.dtype, list(self.shape)):
                return None
            file = self.folder / held["file"]
            if not FILE.fullmatch(file.name) or file.name != held["file"]:
                raise DataError(self.manifest, f"damaged: it names {held['file']!r}; {HINT}")
            check_regular(file)
            size = held["rows"] * self.record.itemsize
            if file.stat().st_size != size or sha256(file) != held["file_sha256"]:
                raise DataError(file, f"damaged: its SHA-256 does not match; {HINT}")
            return np.memmap(file, self.record, "r", shape=(held["rows"],))
        except FileNotFoundError:  # also where another process has just replaced the file
            return None

    def write(self, keys: np.ndarray, parts: Iterable[np.ndarray]) -> None:
        """Writes rows in place of earlier ones, which stay until the new ones are complete.

        One process at a time: temporary files that killed processes have left are removed.

        Args:
            keys: N texts of at most 32 ASCII characters, bytes (N,).
            parts: Arrays (n, *shape) that have N rows together, in order.

        Raises:
            StorageError: The disk is full.
        """
        keys = keys.astype("S32")
        file = self.folder / f"rows-{hashlib.sha256(keys.tobytes()).hexdigest()[:16]}.bin"
        for left in self.folder.glob(f".writing-{'?' * 8}rows-*.bin"):
            left.unlink()
        hasher, start = hashlib.sha256(), 0
        with atomic_path(file) as temporary, open(temporary, "wb") as out:
            for part in parts:
                rows = np.empty(len(part), self.record)
                rows["key"], rows["values"] = keys[start : start + len(part)], part
                data = rows.tobytes()
                hasher.update(data)
                out.write(data)
                start += len(part)
        held = {"file": file.name, "file_sha256": hasher.hexdigest(), "rows": len(keys)}
        held |= {"dtype": self.dtype, "shape": list(self.shape)}
        write_sealed(self.manifest, {"schema": SCHEMA, **held})
        for other in self.folder.glob("rows-*.bin"):
            if other != file and FILE.fullmatch(other.name):
                other.unlink()
