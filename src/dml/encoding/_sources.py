"""Images named on the command line: folders, patterns, lists, tar shards, single files."""

import glob
import os
from itertools import takewhile
from pathlib import Path

from dml._storage.columns import joined, typed, with_numbers
from dml.images import ImageRef
from dml.images._files import FORMATS, LeftOut, image_files, printable, require_utf8
from dml.images._references import ArchiveMemberRef

LISTS = (".csv", ".parquet")


def image_table(sources, left_out, index=None):
    """Returns a table of images with the columns `id`, `path`, `label` and what lists add.

    Args:
        sources: Paths, each of
            a folder: every image in it, as `image_files` finds them, whose label is
            the first folder below it, if any;
            a pattern with `*`, `?` or `[...]`;
            a `.csv` or `.parquet` list with a column `path`, relative to its folder, and perhaps
            `id`, `label` (or `class`) and fields of your own;
            a `.tar` shard, uncompressed, whose members `NAME.cls` are labels;
            or an image.
            An image's id is its path as given here, in its shortest spelling, unless a list says
            otherwise.
        left_out: A `LeftOut` that counts what is there beside the images.
        index: The `dml.index.Index` that the images are to be added to. One that is in it keeps
            its id there, however its path is given here, unless a list says otherwise. One without
            a label, in a folder with the name of a label of the index, has that label: a class
            folder may be added by itself.

    Returns:
        A pandas frame. `path` is absolute; `label` is text, None where there is none.

    Raises:
        FileNotFoundError: A source is missing or holds no image.
        ValueError: A list can't be read, a column is none that images can have (`columns`),
            two images have one id or, without ids of a list's own, one file, or a name is not
            UTF-8.
    """
    tables, unnamed = [], []
    for source in map(os.fspath, sources):
        counted = LeftOut()
        frame = rows_of(source, counted)
        if not len(frame):
            raise FileNotFoundError(f"{printable(source)}: {no_images(counted)}")
        require_utf8(frame["path"])
        left_out.update(counted)
        named = frame.attrs.get("named", False)
        try:
            frame = typed(frame)
        except ValueError as error:
            raise ValueError(f"{printable(source)}: {error}") from None
        if not named:
            frame["id"] = [str(ImageRef.parse(id).normalized()) for id in frame["id"]]
        if index is not None:
            take_known(frame, index, named)
        unnamed += zip(frame["path"], frame["id"], strict=True) if not named else ()
        tables.append((source, frame))
    table = joined(tables)
    check_files(unnamed)
    if len(repeated := table.index[table["id"].duplicated()]):
        raise ValueError(f"the id {table['id'][repeated[0]]!r} occurs more than once")
    return table


def take_known(table, index, named):
    """Gives images the ids that they have in an index, and labels of the index.

    Args:
        table: Of images; changed.
        index: The `Index`.
        named: Whether the ids are a list's own, and stay.
    """
    if not named:
        known = index.ids_of(table["path"].tolist())
        pairs = zip(table["path"], table["id"], strict=True)
        table["id"] = [known.get(path, id) for path, id in pairs]
    folders = table["path"].map(lambda path: os.path.basename(os.path.dirname(path)))
    folders = folders[table["label"].isna()]
    labels = {name: name for name in folders.unique() if index.has_label(name)}
    table["label"] = table["label"].where(table["label"].notna(), folders.map(labels))
    table["label"] = table["label"].astype(object).where(table["label"].notna(), None)


def check_files(images):
    """Raises ValueError where two images of different ids are one file.

    Args:
        images: Pairs of path and id.
    """
    ids = {}
    for path, id in images:
        if ids.setdefault(path, id) != id:
            raise ValueError(f"{ids[path]!r} and {id!r} are the same image: name it once")


def no_images(left_out):
    """Returns what to say of a place without images."""
    there = f"; {left_out}" if left_out else ""
    return f"no images there ({', '.join(FORMATS)}){there}"


def rows_of(source, left_out):
    """Returns the table of one source."""
    import pandas as pd

    path = Path(source)
    labels = None
    if path.is_dir():
        files = image_files(source, left_out)
        labels = [below.split(os.sep)[0] if os.sep in below else None for below in files]
        files = [os.path.join(source, below) for below in files]
    elif path.suffix.lower() in LISTS and path.is_file():
        return listed(path, left_out)
    elif path.suffix.lower() == ".tar" and path.is_file():
        return shard(source, left_out)
    elif path.is_file():
        files = [source]
    elif glob.has_magic(source):
        files = matching(source, left_out)
    elif path.exists():
        raise FileNotFoundError(f"{printable(source)}: not a regular file")
    else:
        raise FileNotFoundError(f"{printable(source)}: no such file, folder or pattern")
    labels = labels or [None] * len(files)
    return pd.DataFrame({"id": files, "path": absolute(files), "label": labels}, dtype=object)


def matching(pattern, left_out):
    """Returns the images that a pattern matches, in order."""
    parts = pattern.split(os.sep)
    fixed = sum(1 for _ in takewhile(lambda part: not glob.has_magic(part), parts))
    folder = os.sep.join([*parts[:fixed], ""])
    if folder and not os.path.isdir(folder):
        return []
    below = image_files(folder, left_out, os.sep.join(parts[fixed:]))
    return [folder + path for path in below]


def absolute(paths):
    return [os.path.abspath(path) for path in paths]


def listed(path, left_out):
    """Returns the rows of a list."""
    from dml.datasets.table import read_frame

    frame = read_frame(path)
    if path.suffix.lower() == ".csv":
        frame = with_numbers(frame)
    if "path" not in frame:
        raise ValueError(f"{path}: no column 'path'; it has {', '.join(map(str, frame.columns))}")
    if len(empty := frame.index[frame["path"].isna()]):
        raise ValueError(f"{path}: row {empty[0] + 1} has no path")
    own = "id" in frame
    if own and len(empty := frame.index[frame["id"].isna()]):
        raise ValueError(f"{path}: row {empty[0] + 1} has no id")
    if "label" not in frame and "class" in frame:
        frame = frame.rename(columns={"class": "label"})
    frame["path"] = frame["path"].astype(str)
    frame = frame[[left_out.takes_listed(name) for name in frame["path"]]].reset_index(drop=True)
    named = frame["path"].tolist()
    if not own:
        frame["id"] = named
    folder = path.parent
    frame["path"] = [str(ImageRef.parse(path).absolute(folder)) for path in named]
    if "label" not in frame:
        frame["label"] = None
    first = ["id", "path", "label"]
    frame = frame[[*first, *(column for column in frame.columns if column not in first)]]
    frame.attrs["named"] = own
    return frame


def shard(source, left_out):
    """Returns the images in a tar, each with the label in its neighbour `.cls`."""
    import pandas as pd

    from dml._storage.archives import tar_members

    members = tar_members(source)
    rows = []
    for member in members:
        image = ArchiveMemberRef(source, member)
        stem, suffix = os.path.splitext(member)
        if suffix == ".cls" or not left_out.takes(member.removeprefix("./")):
            continue
        label = None
        if stem + ".cls" in members:
            label_file = ArchiveMemberRef(source, f"{stem}.cls")
            label = label_file.read_bytes().decode("utf-8", "replace").strip()
        rows.append((str(image), str(image.absolute()), label))
    return pd.DataFrame(rows, columns=["id", "path", "label"], dtype=object)
