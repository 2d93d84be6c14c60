"""Ctrl-C ends a command wherever it is pressed."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator

_SECONDS = 0.05  # until the interrupted callback has returned


@contextlib.contextmanager
def lasting_interrupts() -> Iterator[None]:
    """Raises a KeyboardInterrupt again that Python has ignored.

    An exception in a destructor or in a callback of the garbage collector, such as JAX's, is
    printed, and the program goes on.
    """
    shown = sys.unraisablehook

    def hook(unraisable):
        if issubclass(unraisable.exc_type, KeyboardInterrupt):
            threading.Timer(_SECONDS, os.kill, (os.getpid(), signal.SIGINT)).start()
        else:
            shown(unraisable)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = shown
