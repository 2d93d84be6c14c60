"""The errors that a user can mend.

A command shows one of these as a single line and ends with exit code 2; any other exception is a
fault of dml's. Each is also of the built-in class that fits, so `except ValueError` works.
"""


class DmlError(Exception):
    """What a user can mend; its text says what is wrong, where, and what to do."""


class OptionError(DmlError, ValueError):
    """An option, argument or flag has a value that it can't take.

    Args:
        option: Its name, such as `margin`; of several, the first at fault.
        text: What is wrong, following the name: "must be in [0, 1]; got 1.5".
        place: Where it was set, such as "mine.toml, line 3"; empty where it needs no telling.
    """

    def __init__(self, option: str, text: str, place: str = ""):
        super().__init__(f"{place}: {option} {text}" if place else f"{option} {text}")
        self.option = option
        self.text = text
        self.place = place

    def __reduce__(self):  # errors of worker processes come back by pickle
        return type(self), (self.option, self.text, self.place)


class DataError(DmlError, ValueError):
    """A file or folder does not hold what it has to.

    Args:
        path: The file or folder.
        text: What is wrong, following the path and a colon: "damaged; export the run again".
    """

    def __init__(self, path, text: str):
        super().__init__(f"{path}: {text}")
        self.path = path
        self.text = text

    def __reduce__(self):
        return type(self), (self.path, self.text)


class MissingDataError(DataError, FileNotFoundError):
    """A file or folder is missing."""


class OccupiedError(DataError, FileExistsError):
    """Something is at a place where a new file or folder was to be written."""


class BusyError(DmlError, ValueError):
    """Another process is writing what this one wanted to write."""


class UnknownNameError(DmlError, KeyError):
    """A name that no part, item or section has; the text names the nearest known one."""

    def __str__(self):  # KeyError quotes its text
        return self.args[0]


class FilterError(DmlError, ValueError):
    """A filter of an index's items can't be read, or compares what can't be compared."""


class ArrayError(DmlError, ValueError):
    """Arrays that a function can't take: of another shape, type or range than it documents."""


class StorageError(DmlError, OSError):
    """The system refuses to read or write: a full disk, missing rights, a server that is away."""


class DivergenceError(DmlError, FloatingPointError):
    """The training has left the finite numbers."""


class PackageError(DmlError, ImportError):
    """An optional package is missing; the text names the extra that brings it."""
