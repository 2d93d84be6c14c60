"""Finds the images in a folder by their suffixes, and counts the files that it leaves out."""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from dml._storage.remote import is_url
from dml.errors import DataError

FORMATS = {  # suffix -> format, all that `read_image` reads; the formats have Pillow's names
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".jpeg": "JPEG",
    ".jpg": "JPEG",
    ".pbm": "PPM",
    ".pgm": "PPM",
    ".png": "PNG",
    ".pnm": "PPM",
    ".ppm": "PPM",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WEBP",
}
# Files that operating systems and programs leave next to images; they are not counted.
LITTER = re.compile(
    r"\._.*|\.DS_Store|\.AppleDouble|\.ipynb_checkpoints|__MACOSX|@eaDir|#recycle|\$RECYCLE\.BIN"
    r"|System Volume Information|lost\+found|(eh)?thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)
CELL = re.compile(r"(?is).*\.(parquet|arrow)!.*!\d+")  # as `CellRef` writes it
RUN = {"recipe.toml", "items.parquet"}  # files by which the folder of a training run is recognised
RUNS = "in a run's folder"
HIDDEN = "hidden"
IRREGULAR = "not regular"
LINKED = "linked twice"


class LeftOut(Counter):
    """The number of files that were left out, by suffix or by reason."""

    def takes(self, path: str) -> bool:
        """Returns whether a relative path has the name of an image.

        Other files are counted, except for litter.
        """
        parts = path.split(os.sep)
        if any(LITTER.fullmatch(part) for part in parts):
            return False
        suffix = suffix_of(path)
        if any(part.startswith(".") for part in parts):
            self[HIDDEN] += 1
        elif suffix in FORMATS:
            return True
        else:
            self[suffix or "without a suffix"] += 1
        return False

    def takes_listed(self, path: str) -> bool:
        """Returns whether a path in a list may be that of an image; counts it if not.

        A path without a suffix may be one, since files may be named by hashes; so may a cell of a
        Parquet or Arrow file.
        """
        if CELL.fullmatch(path):
            return True
        if is_url(path):
            path = path.partition("?")[0]
        suffix = suffix_of(path.rpartition("!")[2])  # of a member, if it is one
        if suffix and suffix not in FORMATS:
            self[suffix] += 1
            return False
        return True

    def __str__(self):
        counted = sorted(self.items(), key=lambda item: (-item[1], item[0]))
        return f"left out: {', '.join(f'{count:,} {reason}' for reason, count in counted)}"


def suffix_of(path: str) -> str:
    """Returns the suffix of a path in lower case and printable."""
    suffix = os.path.splitext(path)[1].lower()
    return suffix if suffix.isascii() else printable(suffix)


def image_files(
    folder: str | os.PathLike[str], left_out: LeftOut, pattern: str = "**"
) -> list[str]:
    """Returns the images below a folder, as paths relative to it, in order.

    Images are files with a suffix in `FORMATS`. Hidden files and folders are left out, and so are
    the folders of training runs and the litter of operating systems. Linked folders are followed,
    but no folder is read twice, nor any parent of the folder itself.

    Args:
        folder: Its path.
        left_out: A `LeftOut` that counts the other files.
        pattern: Pattern of the paths to consider: parts with `*`, `?` and `[...]`, and `**` for any
            number of folders.

    Raises:
        OSError: A folder can't be read.
    """
    folder = os.fspath(folder) or "."
    seen = set(ancestors(folder))
    parts = pattern.split(os.sep)
    found, links = [], [""]
    while links:  # after all real folders, so that images get their real paths
        below = links.pop(0)
        if enter(os.path.join(folder, below), seen):
            read_folder(folder, below, parts, seen, found, links, left_out)
        else:
            left_out[LINKED] += 1
    return sorted(found, key=lambda path: path.split(os.sep))


def read_folder(root, below, pattern, seen, found, links, left_out):
    """Adds the images below a folder to `found` and the linked folders to `links`."""
    folders = [below]
    while folders:
        below = folders.pop()
        with os.scandir(os.path.join(root, below)) as scan:
            entries = sorted(scan, key=lambda entry: entry.name)
        if {entry.name for entry in entries} >= RUN:
            left_out[RUNS] += len(entries)
            continue
        for entry in entries:
            path = os.path.join(below, entry.name)
            linked = entry.is_symlink()  # `entry` raises an error for a broken link
            is_folder = os.path.isdir(entry.path) if linked else entry.is_dir()
            if LITTER.fullmatch(entry.name) or not matches(path.split(os.sep), pattern, is_folder):
                continue
            if entry.name.startswith("."):
                left_out[HIDDEN] += 1
            elif is_folder:
                if linked:
                    links.append(path)
                elif enter(entry.path, seen):
                    folders.append(path)
            elif left_out.takes(entry.name):
                if os.path.isfile(entry.path) if linked else entry.is_file():
                    found.append(path)
                else:
                    left_out[IRREGULAR] += 1


def folders_below(
    folder: str | os.PathLike[str],
) -> Iterator[tuple[str, list[str], list[str]]]:
    """Yields what `os.walk` does of a folder and of those below it, except for hidden ones.

    Linked folders are followed as by `image_files`: after all real ones, none of them twice, nor
    any parent of the folder itself.

    Args:
        folder: Its path.
    """
    links = [os.fspath(folder)]
    seen = set(ancestors(links[0]))
    while links:
        top = links.pop(0)
        if not enter(top, seen):
            continue
        for place, folders, names in os.walk(top):
            if place != top and not enter(place, seen):
                folders.clear()
                continue
            folders[:] = sorted(filter(is_seen, folders))
            yield place, folders, names
            paths = [os.path.join(place, name) for name in folders]
            links += filter(os.path.islink, paths)


def is_seen(name: str) -> bool:
    """Returns whether a file or folder of this name is neither hidden nor litter."""
    return not name.startswith(".") and not LITTER.fullmatch(name)


def matches(parts, pattern, is_folder):
    """Returns whether the parts of a pattern match those of a path, or lead into a folder."""
    if not parts:
        return is_folder or all(part == "**" for part in pattern)
    if not pattern:
        return False
    if pattern[0] == "**":
        further = matches(parts[1:], pattern, is_folder)
        return further or matches(parts, pattern[1:], is_folder)
    return fnmatchcase(parts[0], pattern[0]) and matches(parts[1:], pattern[1:], is_folder)


def enter(folder, seen):
    """Returns whether a folder was not entered before, and marks it as entered."""
    status = os.stat(folder)
    place = status.st_dev, status.st_ino
    known = place in seen
    seen.add(place)
    return not known


def ancestors(folder: str) -> Iterator[tuple[int, int]]:
    """Yields device and inode of a folder's parents."""
    path = os.path.realpath(folder)
    while path != (path := os.path.dirname(path)):
        status = os.stat(path)
        yield status.st_dev, status.st_ino


def require_utf8(paths: Iterable[str]) -> None:
    """Raises an error for names that can't be written as JSON, Parquet or text.

    Raises:
        DataError: One is not UTF-8; the message names the first and counts the rest.
    """
    bad = [path for path in paths if not is_utf8(path)]
    if bad:
        rest = f" (and {len(bad) - 1:,} more)" if bad[1:] else ""
        raise DataError(printable(bad[0]), f"the name is not UTF-8{rest}: rename it")


def is_utf8(text: str) -> bool:
    """Returns whether a text can be encoded; file names of other bytes hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path: str | os.PathLike[str]) -> str:
    """Returns a path in which bytes that are not UTF-8 are written as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
