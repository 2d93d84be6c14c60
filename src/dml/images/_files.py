"""Which files are images, and which of those below a folder are taken."""

import os
import re
from collections import Counter
from fnmatch import fnmatchcase

FORMATS = {  # suffix -> format, all of which `dml.images` reads; the names are Pillow's
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
# What systems and programs leave behind beside images; nobody misses it, so it isn't counted.
LITTER = re.compile(
    r"\._.*|\.DS_Store|\.AppleDouble|\.ipynb_checkpoints|__MACOSX|@eaDir|#recycle|\$RECYCLE\.BIN"
    r"|System Volume Information|lost\+found|(eh)?thumbs\.db|desktop\.ini",
    re.IGNORECASE,
)
RUN = {"recipe.toml", "items.parquet"}  # what tells the folder of a training run
RUNS = "in a run's folder"
HIDDEN = "hidden"
IRREGULAR = "not regular"
LINKED = "linked twice"


class LeftOut(Counter):
    """How many files were left out, by suffix or by reason."""

    def takes(self, path):
        """Returns whether what was found at a relative path is an image by its name.

        What is not is counted, litter apart.
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

    def takes_listed(self, path):
        """Returns whether a path that a list names may be an image; counts it if not.

        Without a suffix it may: hashes are names, too.
        """
        suffix = suffix_of(path)
        if suffix and suffix not in FORMATS:
            self[suffix] += 1
            return False
        return True

    def __str__(self):
        counted = sorted(self.items(), key=lambda item: (-item[1], item[0]))
        return f"left out: {', '.join(f'{count:,} {reason}' for reason, count in counted)}"


def suffix_of(path):
    """Returns the suffix of a path in small letters, fit to be printed."""
    return printable(os.path.splitext(path)[1].lower())


def image_files(folder, left_out, pattern="**"):
    """Returns the images below a folder, as paths relative to it, in order.

    By their suffix, `FORMATS`. Hidden files and folders are left out, and so are the folders of
    training runs and what systems leave behind. Linked folders are followed, but no folder is read
    twice, and none that the folder itself lies in.

    Args:
        folder: Its path.
        left_out: A `LeftOut` that counts the other files.
        pattern: Which of them count at all: parts with `*`, `?` and `[...]`, and `**` for any
            number of folders.

    Raises:
        OSError: A folder can't be read.
    """
    folder = os.fspath(folder) or "."
    seen = set(ancestors(folder))
    pattern, found, links = pattern.split(os.sep), [], [""]
    while links:  # after all real folders, so that images are found under their own names
        below = links.pop(0)
        if enter(os.path.join(folder, below), seen):
            read_folder(folder, below, pattern, seen, found, links, left_out)
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
            linked = entry.is_symlink()  # of which one that leads nowhere is an error of `entry`
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
    """Returns whether a folder was not read before; now it is."""
    status = os.stat(folder)
    place = status.st_dev, status.st_ino
    known = place in seen
    seen.add(place)
    return not known


def ancestors(folder):
    """Yields the places of the folders that a folder lies in."""
    path = os.path.realpath(folder)
    while path != (path := os.path.dirname(path)):
        status = os.stat(path)
        yield status.st_dev, status.st_ino


def require_utf8(paths):
    """Refuses names that JSON, Parquet and a terminal can't hold.

    Raises:
        ValueError: One is not UTF-8; the message names the first and counts the rest.
    """
    bad = [path for path in paths if not is_utf8(path)]
    if bad:
        rest = f" and {len(bad) - 1:,} more" if bad[1:] else ""
        raise ValueError(f"{printable(bad[0])}{rest}: the name is not UTF-8: rename it")


def is_utf8(text):
    """Returns whether a text can be written; names of other bytes hold lone surrogates."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def printable(path):
    """Returns a path with bytes that are not UTF-8 as \\xNN."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")
