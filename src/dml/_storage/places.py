"""Where data sets are looked for."""

import os
from pathlib import Path


def data_folder():
    """Returns the folder that `DML_DATA` names, or None where it is not set."""
    name = os.environ.get("DML_DATA", "")
    return Path(name).expanduser() if name else None
