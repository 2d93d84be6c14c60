"""Switches off OpenCV's own threads while dml's threads read images."""

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_blocks = 0  # that are running
_before = 0  # threads of OpenCV outside of them


@contextlib.contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Keeps OpenCV from starting threads of its own for a single image while the block runs.

    The setting applies to the whole process: the first block to start changes it and the last one
    to end restores it, whichever threads they run in.
    """
    import cv2

    global _blocks, _before
    with _lock:
        if not _blocks:
            _before = cv2.getNumThreads()
            cv2.setNumThreads(0)
        _blocks += 1
    try:
        yield
    finally:
        with _lock:
            _blocks -= 1
            if not _blocks:
                cv2.setNumThreads(_before)
