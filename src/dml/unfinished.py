"""What is done of a long measurement, kept in a folder until all of it is."""

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np

from dml.folders import atomic_path


class Unfinished:
    """Keeps the arrays of each finished part, so that a measurement that was stopped goes on.

    Parts of another measurement, of other arrays or options, are thrown away.

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
        mine = digest.hexdigest()
        name = self.folder / "measurement"
        if name.exists() and name.read_text() != mine:
            self.forget()
        self.folder.mkdir(parents=True, exist_ok=True)
        with atomic_path(name) as path:
            Path(path).write_text(mine)

    def part(self, number, compute):
        """Returns the arrays of a part: those that are kept, or what `compute()` returns."""
        found = self.kept(number)
        self.was_known = found is not None
        if not self.was_known:
            found = compute()
            self.keep(number, found)
        return found

    def kept(self, number):
        """Returns the arrays of a part that is done, or None."""
        file = self.folder / f"{number:06}.npz"
        if not file.exists():
            return None
        with np.load(file) as arrays:
            return tuple(arrays[name] for name in arrays.files)

    def keep(self, number, found):
        """Keeps the arrays of a part."""
        kept = self.folder / f"{number:06}.npz"
        with atomic_path(kept) as path, open(path, "wb") as file:
            np.savez(file, *found)

    def forget(self):
        """Removes the folder."""
        shutil.rmtree(self.folder)
