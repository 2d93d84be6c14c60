"""The folder of data sets."""

import os
from pathlib import Path


def data_folder() -> Path | None:
    """Returns the folder that `DML_DATA` names, or None if it is not set."""
    name = os.environ.get("DML_DATA", "")
    return Path(name).expanduser() if name else None
