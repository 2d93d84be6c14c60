"""The files of an index."""

import contextlib
import hashlib
import os
import re
from pathlib import Path
from typing import ClassVar

from dml._storage.atomic import atomic_path, check_regular, without_links
from dml._storage.records import read_sealed, sha256, write_sealed

MOST_DIMENSIONS = 1 << 16


class IndexFolder:
    """Names the files of an index, writes them and finds damage in them.

    Args:
        path: The folder.
    """

    NAMES: ClassVar[dict] = {  # nothing else is read, appended to or removed
        "vectors": r"vectors-[0-9]+\.f32",
        "items": r"items-[0-9]+\.parquet",
        "codes": r"codes-[0-9]+\.faiss",
    }

    def __init__(self, path):
        self.path = Path(path)
        self.manifest = self.path / "manifest.json"
        self.bundle = self.path / "bundle"
        self.lock = self.path / ".lock"

    def open(self):
        """Returns the manifest.

        Raises:
            FileNotFoundError: There is none.
            ValueError: It is damaged.
        """
        if not self.manifest.exists():
            raise FileNotFoundError(
                f"{self.path} is no index: {self.manifest.name} is missing. "
                "`dml index build` makes one"
            )
        check_regular(self.manifest, links=False)
        manifest = read_sealed(self.manifest)
        try:
            self.check(manifest)
        except (KeyError, TypeError, ValueError):
            raise ValueError(f"{self.manifest}: damaged, or not of this version of dml") from None
        for entry in manifest["files"].values():
            with contextlib.suppress(FileNotFoundError):
                check_regular(self.path / entry["name"], links=False)
        return manifest

    def check(self, manifest):
        """Raises KeyError, TypeError or ValueError where a manifest is not of the form of ours."""
        entries, recall = dict(manifest["files"]), dict(manifest["recall"])
        effort = dict(manifest["effort"])
        whole = [manifest[name] for name in ("number", "rows")]
        whole += [entry["bytes"] for entry in entries.values()]
        texts = [manifest[name] for name in ("kind", "encoder", "bundle")]
        texts += [entry["sha256"] for entry in entries.values()]
        if (
            manifest["schema"] != 2
            or not all(type(number) is int and 0 <= number < 2**53 for number in whole)
            or not all(isinstance(text, str) for text in texts)
            or not {"vectors", "items"} <= set(entries) <= set(self.NAMES)
            or not all(re.fullmatch(self.NAMES[f], entries[f]["name"]) for f in entries)
            or type(manifest["dimension"]) is not int
            or not 0 < manifest["dimension"] <= MOST_DIMENSIONS
            or entries["vectors"]["bytes"] != 4 * manifest["rows"] * manifest["dimension"]
            or not all(0 <= recall[name] <= 1 for name in ("target", "measured"))
            or set(effort) != {"breadth", "oversample"}
            or not all(type(value) is int and 0 <= value <= 2**20 for value in effort.values())
            or not effort["oversample"]
        ):
            raise ValueError

    def write_manifest(self, manifest):
        """Replaces the manifest, which makes the files that it names the index."""
        write_sealed(self.manifest, manifest)

    def write(self, name, data):
        """Writes a file of bytes and returns its entry for the manifest."""
        with atomic_path(self.path / name) as temporary, open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        return self.entry(name)

    def append(self, entry, data):
        """Adds bytes behind those that an entry knows, and returns the new entry.

        Until a manifest has the new entry, a reader goes by the old and sees nothing of them.
        """
        path = self.path / entry["name"]
        with open(path, "r+b", opener=without_links) as file:
            file.truncate(entry["bytes"])  # what a change that was stopped has left
            file.seek(entry["bytes"])
            try:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            except OSError as error:
                file.truncate(entry["bytes"])
                raise OSError(f"{path}: {error.strerror}; the index is as it was") from error
        return self.entry(entry["name"])

    def entry(self, name):
        """Returns what the manifest says of a file."""
        path = self.path / name
        return {"name": name, "bytes": path.stat().st_size, "sha256": sha256(path)}

    def checked(self, entry):
        """Returns the path of a file that is as the manifest says.

        Raises:
            FileNotFoundError: It is missing.
            ValueError: It is damaged.
        """
        path = self.path / entry["name"]
        with open(path, "rb", opener=without_links) as file:
            digest, left = hashlib.sha256(), entry["bytes"]
            while left and (data := file.read(min(left, 1 << 20))):
                digest.update(data)
                left -= len(data)
        if left:
            raise ValueError(f"{path}: cut short by {left:,} bytes; build the index again")
        if digest.hexdigest() != entry["sha256"]:
            raise ValueError(f"{path}: damaged: its SHA-256 is not the one in the manifest")
        return path

    def data_files(self):
        """Returns the files of this and of unfinished changes."""
        names = ("vectors-*", "items-*", "codes-*", ".writing-*")
        files = [file for name in names for file in self.path.glob(name)]
        return [file for file in files if file.is_symlink() or not file.is_dir()]
