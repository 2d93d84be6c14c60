"""The folders of new runs: their names, and that nothing else is in them."""

import contextlib
import os
import re
from collections.abc import Iterator
from pathlib import Path

from dml._processes import from_first, new_folder, process_index
from dml._storage.places import expanded
from dml._storage.run_folder import RunFolder
from dml.datasets import DatasetPart
from dml.errors import OccupiedError, OptionError
from dml.images._files import FORMATS, suffix_of


def run_name(source: str | os.PathLike[str]) -> str:
    """Returns the name of a run of a recipe, a data set, a folder or a pattern of files."""
    path = Path(os.path.abspath(expanded(source)))
    name = (path.name if path.is_dir() else path.stem) or "folder"  # the root has no name
    return name if path.exists() else re.sub(r"[^\w.]+", "-", name).strip("-")


def free_folder(parent: Path, name: str) -> Path:
    """Creates and returns the first of parent/name, parent/name-2, ... that does not exist.

    Raises:
        OptionError: The name is that of a folder elsewhere.
    """
    if name in ("", ".", "..") or os.path.basename(name) != name:
        raise OptionError("name", f"must be a name within {parent}, without folders; got {name!r}")
    number, path = 1, parent / name
    while True:
        with contextlib.suppress(FileExistsError):
            path.mkdir(parents=True)
            return path
        number += 1
        path = parent / f"{name}-{number}"


def check_out(folder: str | os.PathLike[str], dataset: DatasetPart) -> None:
    """Raises an error for a run's folder that is a folder of images, these or others.

    The files of the run would then be taken for the data's, or images for the run's. A new folder
    may lie among the images, and one in which `dml run` has begun.

    Args:
        folder: For the run.
        dataset: The data set.

    Raises:
        OccupiedError: It is one.
    """
    out = expanded(folder).resolve()
    if dataset.root:
        root, run = Path(dataset.absolute_root()).resolve(), RunFolder(out)
        begun = {run.steps, run.items, out / ".lock"}
        if out == root or (root in out.parents and out.is_dir() and set(out.iterdir()) - begun):
            raise OccupiedError(folder, "is a folder of the images: choose another --out")
    if image := _image_below(out):
        raise OccupiedError(folder, f"has images in folders, such as {image}: choose another --out")


def _image_below(folder: Path) -> Path | None:
    """Returns an image in one of the folders in a folder; None if there is none."""
    for inner in _entries(folder):
        for entry in _entries(inner):
            if suffix_of(entry.name) in FORMATS and entry.is_file():
                return entry
    return None


def _entries(folder: Path) -> list[Path]:
    """Returns what is in a folder; nothing if there is none, or it can't be read."""
    try:
        return list(folder.iterdir())
    except OSError:
        return []


@contextlib.contextmanager
def claimed_folder(folder: str | os.PathLike[str] | None, name: str) -> Iterator[RunFolder]:
    """Creates the folder of a new run and locks it; removes it if nothing is written to it.

    In other processes than the first, it is a temporary one.

    Args:
        folder: The folder; None for `runs/NAME`, with a number if that exists.
        name: The NAME.
    """
    wanted = Path("runs") if folder is None else Path(folder)
    made = [one for one in (wanted, *wanted.parents) if not one.exists()]
    path = wanted
    if folder is None:
        path = from_first(lambda: free_folder(wanted, name))
        made.insert(0, path)
    first = process_index() == 0
    run_folder = RunFolder(path if first else new_folder())
    with run_folder.writing():
        try:
            yield run_folder.create()
        finally:
            if first and [file.name for file in run_folder.path.iterdir()] == [".lock"]:
                (run_folder.path / ".lock").unlink()
                with contextlib.suppress(OSError):  # used by another process by now
                    for one in made:
                        one.rmdir()
