"""OpenCV's own threads, switched off while images are read by ours."""

import contextlib
import threading
from collections.abc import Iterator

_lock = threading.Lock()
_blocks = 0  # that are running
_before = 0  # threads of OpenCV outside of them


@contextlib.contextmanager
def single_threaded_opencv() -> Iterator[None]:
    """Keeps OpenCV from starting threads of its own for a single image while the block runs.

    The setting is one of the whole process: the first block that begins changes it and the last
    one that ends restores it, whichever threads they run in.
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
