"""Errors that users can fix.

The commands print them as a single line and exit with code 2; any other exception is a bug in dml.
Each class also derives from the matching built-in exception, so `except ValueError` works.
"""

import os


class DmlError(Exception):
    """An error that the user can fix; its text says what is wrong, where, and what to do."""


class OptionError(DmlError, ValueError):
    """An option, argument or flag has a value that it can't take.

    Args:
        option: Its name, such as `margin`; the first one if several are wrong.
        text: What is wrong, following the name: "must be in [0, 1]; got 1.5".
        place: Where it was set, such as "mine.toml, line 3"; empty if that is obvious.
    """

    def __init__(self, option: str, text: str, place: str = ""):
        super().__init__(f"{place}: {option} {text}" if place else f"{option} {text}")
        self.option = option
        self.text = text
        self.place = place

    def __reduce__(self):  # errors of worker processes come back by pickle
        return type(self), (self.option, self.text, self.place)


class DataError(DmlError, ValueError):
    """A file or folder does not contain what it should.

    Args:
        path: The file or folder.
        text: What is wrong, following the path and a colon: "damaged; export the run again".
    """

    def __init__(self, path: str | os.PathLike[str], text: str):
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text

    def __reduce__(self):
        return type(self), (self.path, self.text)


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder is missing."""


class OccupiedError(DataError, FileExistsError):
    """A new file or folder can't be written because something already exists at its path."""


class BusyError(DmlError, ValueError):
    """Another process is writing the same file or folder."""


class UnknownNameError(DmlError, KeyError):
    """No part, item or section has this name; the text suggests the nearest known one."""

    def __str__(self):  # KeyError quotes its text
        return self.args[0]


class FilterError(DmlError, ValueError):
    """A filter of an index's items can't be read, or compares what can't be compared."""


class ArrayError(DmlError, ValueError):
    """An array's shape, type or range is not the documented one."""


class StorageError(DmlError, OSError):
    """Reading or writing failed: full disk, missing permissions, unreachable server."""


class DivergenceError(DmlError, FloatingPointError):
    """The training diverged: a value is not finite."""


class PackageError(DmlError, ImportError):
    """An optional package is missing; the text names the extra that installs it."""
