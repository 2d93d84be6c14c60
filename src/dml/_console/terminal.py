"""Output of a command: dml's lines, free of control characters, and libraries' errors only."""

import contextlib
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator

# Control characters of ASCII and Latin-1, which move the cursor or set colours, line breaks, and
# those that reverse the direction of writing.
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text: object) -> str:
    """Returns a text as one line without control characters.

    File names, ids and labels may come from untrusted sources: control characters in them are shown
    as Python escapes.
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], str(text))


def say(line: object) -> None:
    """Prints a line on standard output at once."""
    print(printable(line), flush=True)


def warn(line: object) -> None:
    """Prints a warning on standard error."""
    _print_on_stderr(f"warning: {printable(line)}")


def complain(text: object) -> None:
    """Prints an error as one line on standard error."""
    _print_on_stderr(f"dml: {printable(' '.join(str(text).split()))}")


def _print_on_stderr(line):
    with contextlib.suppress(OSError):  # a full disk there must not change the exit code
        print(line, file=sys.stderr, flush=True)


def prepare_streams() -> None:
    """Opens closed standard streams, and escapes characters that their encoding lacks."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # closed by the parent process
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


def hide_prints() -> None:
    """Hides what libraries print past Python; several processes that train together print much."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for number, name in ((1, "stdout"), (2, "stderr")):
        stream = getattr(sys, name)
        stream.flush()
        options = {"encoding": stream.encoding, "errors": stream.errors}
        setattr(sys, name, os.fdopen(os.dup(number), "w", **options))
        os.dup2(nowhere, number)


class _OneLine(logging.Formatter):
    def format(self, record):
        return printable(super().format(record))


@contextlib.contextmanager
def quiet_libraries() -> Iterator[None]:
    """Hides warnings of libraries; their errors and dml's own log records are shown.

    Python's warnings are shown if `-W` or PYTHONWARNINGS asks for them.
    """
    root, own, handler = logging.getLogger(), logging.getLogger("dml"), logging.StreamHandler()
    before = root.level, own.level, own.propagate
    handler.setFormatter(_OneLine("%(message)s"))
    root.setLevel(logging.ERROR)
    own.setLevel(logging.WARNING)
    own.addHandler(handler)
    own.propagate = False
    try:
        with warnings.catch_warnings():
            if not sys.warnoptions:
                warnings.simplefilter("ignore")
            yield
    finally:
        own.removeHandler(handler)
        root.setLevel(before[0])
        own.setLevel(before[1])
        own.propagate = before[2]
