"""How many threads read images."""

import os
import sys

from dml._options import check_integer

MOST = 16  # each holds a batch in advance


def reading_threads(threads: int | None) -> int:
    """Returns how many threads read images: as many as given, or by default one per processor.

    Args:
        threads: A positive number; None for one per processor of this process, at most 16.

    Raises:
        OptionError: It is not positive.
    """
    if threads is None:
        return min(processors(), MOST)
    check_integer(1, threads=threads)
    return threads


def processors() -> int:
    """Returns how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
