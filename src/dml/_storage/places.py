"""Paths as users write them, and the folder of data sets."""

import os
from pathlib import Path


def expanded(path: str | os.PathLike[str]) -> Path:
    """Returns a path with `~` replaced; that of an unknown user stays, and names no file."""
    return Path(os.path.expanduser(path))  # Path.expanduser raises RuntimeError for one


def data_folder() -> Path | None:
    """Returns the folder that `DML_DATA` names, or None if it is not set."""
    name = os.environ.get("DML_DATA", "")
    return expanded(name) if name else None
