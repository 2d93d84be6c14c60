"""What the user of a command sees: our lines whole and harmless, of libraries only their errors."""

import contextlib
import logging
import os
import re
import sys
import tempfile
import warnings

# Those of ASCII and Latin-1, which move the cursor or colour what follows, breaks of lines, and
# those that turn the direction of writing around.
CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def printable(text):
    """Returns a text as one line that changes nothing but itself on a terminal.

    File names, ids and labels are other people's: what is in them is shown, as Python writes it.
    """
    return CONTROLS.sub(lambda match: ascii(match[0])[1:-1], str(text))


def say(line):
    """Prints a line at once."""
    print(printable(line), flush=True)


def complain(text):
    """Prints a fault as one line on the error stream; a full disk there hides no exit code."""
    with contextlib.suppress(OSError):
        print(f"dml: {printable(' '.join(str(text).split()))}", file=sys.stderr, flush=True)


def prepare_streams():
    """Lets both streams write what their encoding lacks as an escape, and be closed."""
    for number, name in ((1, "stdout"), (2, "stderr")):
        if getattr(sys, name) is None:  # closed by who started the command
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
        if hasattr(getattr(sys, name), "reconfigure"):
            getattr(sys, name).reconfigure(errors="backslashreplace")


class OneLine(logging.Formatter):
    def format(self, record):
        return printable(super().format(record))


@contextlib.contextmanager
def quiet_libraries():
    """Keeps warnings of libraries off the terminal: their errors, and what dml logs, are shown.

    Python's warnings come where they are asked for, by `-W` or PYTHONWARNINGS.
    """
    root, own, handler = logging.getLogger(), logging.getLogger("dml"), logging.StreamHandler()
    before = root.level, own.level, own.propagate
    handler.setFormatter(OneLine("%(message)s"))
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


@contextlib.contextmanager
def held_back():
    """Holds back what the block prints on the error stream, also from C++; shown if it fails."""
    sys.stderr.flush()
    terminal = os.dup(2)
    with tempfile.TemporaryFile() as printed:
        os.dup2(printed.fileno(), 2)
        try:
            yield
        except BaseException:
            printed.seek(0)
            os.write(terminal, printed.read())
            raise
        finally:
            os.dup2(terminal, 2)
            os.close(terminal)
