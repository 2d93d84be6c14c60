"""The files of an evaluation: the shape of its metrics, and its vectors."""

from pathlib import Path

import numpy as np

from dml.errors import DataError
from dml.runs._metrics import METRICS, NUMBER

SCHEMA = 3
SHAPE = {
    **{"schema": int, "dataset": str, "protocol": str, "exclude": str, "seconds": NUMBER},
    **dict.fromkeys(("queries", "excluded", "gallery", "classes"), int),
    **{"metrics": METRICS, "frozen": METRICS, "thresholds": [dict], "notes": [str]},
    **{"seen": {str: int}, "unreadable": {str: int}, "since_training": (dict, type(None))},
}


def read_vectors(path: Path, count: int | None = None) -> np.ndarray:
    """Returns the vectors (N, D) that an evaluation wrote.

    Args:
        path: The file.
        count: Expected number of vectors; None for any number.

    Raises:
        DataError: It holds something else.
    """
    try:
        vectors = np.load(path, mmap_mode="r")  # without the memory that its header claims
    except (ValueError, OSError, EOFError) as error:
        raise DataError(path, f"damaged; evaluate the run again ({error})") from None
    if vectors.ndim != 2 or vectors.dtype != np.float32 or count not in (None, len(vectors)):
        wanted = "float32 vectors" if count is None else f"{count:,} float32 vectors"
        raise DataError(
            path,
            f"{wanted} belong here; it holds {vectors.dtype} {vectors.shape}. Evaluate the run "
            "again",
        )
    return np.array(vectors)
