"""The files of a data set: finding, reading and missing ones."""

import os
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from dml._storage.remote import is_url
from dml.errors import DataError, MissingDataError


def find_file(*candidates: Path) -> Path:
    """Returns the first of these files that exists.

    Raises:
        MissingDataError: None of them exists; the message names the first.
    """
    for path in candidates:
        if path.is_file():
            return path
    others = "".join(f" (nor {path} exists)" for path in candidates[1:])
    raise MissingDataError(candidates[0], f"missing{others}")


def read_rows(path: Path, columns: int, header: int = 0) -> list[tuple[str, ...]]:
    """Returns the lines of a text file of words as tuples of `columns` words.

    Args:
        path: The file.
        columns: Words in each line.
        header: Lines to leave out at the top.

    Raises:
        MissingDataError: It is missing.
        DataError: A line has more or fewer words, or the file is not text or lists nothing.
    """
    try:
        lines = find_file(path).read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise DataError(path, "corrupt: not a text file") from None
    rows = []
    for number, line in enumerate(lines[header:], start=header + 1):
        words = line.split()
        if len(words) != columns and words:
            raise DataError(
                path,
                f"line {number}: expected {columns} words, got {len(words)}: {line[:60]!r}",
            )
        if words:
            rows.append(tuple(words))
    if not rows:
        raise DataError(path, "corrupt: it lists nothing")
    return rows


def integer(text: str, path: Path) -> int:
    """Returns a text as an integer.

    Raises:
        DataError: It is not one; the message names the file.
    """
    try:
        return int(text)
    except ValueError:
        raise DataError(path, f"corrupt: expected an integer, got {text!r}") from None


def _missing_files(paths: Sequence[str]) -> list[int]:
    """Returns the positions of those paths that are not files; lists each folder only once."""
    positions = defaultdict(lambda: array("q"))
    for position, path in enumerate(paths):
        positions[os.path.dirname(path)].append(position)
    missing = []
    for folder, inside in positions.items():
        try:
            with os.scandir(folder or ".") as entries:
                files = {
                    entry.name
                    for entry in entries  # which raise an error for links that go in a circle
                    if (os.path.isfile(entry) if entry.is_symlink() else entry.is_file())
                }
        except OSError:
            files = set()
        missing += [place for place in inside if os.path.basename(paths[place]) not in files]
    return sorted(missing)


def require_files(
    paths: Iterable[str | os.PathLike[str]], advice: str = "unpack the archive again"
) -> None:
    """Raises an error if any of the images is missing; those at URLs are not looked for.

    Args:
        paths: The paths of the images.
        advice: What to do about it, for the message.

    Raises:
        MissingDataError: The message names the first and counts the rest.
    """
    paths = [path for path in map(str, paths) if not is_url(path)]
    missing = [paths[position] for position in _missing_files(paths)]
    if missing:
        rest = f", and {len(missing) - 1:,} more" if len(missing) > 1 else ""
        raise MissingDataError(missing[0], f"image missing{rest}; {advice}")


def unread_columns(names: Sequence[str]) -> str:
    """Returns a note on columns that are not read, of which there is at least one."""
    more = f" and {len(names) - 5} more" if names[5:] else ""
    return f"columns not read: {', '.join(names[:5])}{more}"


def listed_in(file: str | os.PathLike[str]) -> str:
    """Returns what to do about images that are missing and listed in a user's file."""
    return f"listed in {file}: paths are relative to its folder"


def halves(classes: Iterable) -> dict:
    """Returns {class: "train" or "test"}: the first half of these classes trains (zero-shot)."""
    classes = list(classes)
    middle = len(classes) // 2
    return {name: "train" if i < middle else "test" for i, name in enumerate(classes)}
