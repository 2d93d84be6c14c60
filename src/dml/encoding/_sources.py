"""Images named on the command line: folders, patterns, lists, tar shards, single files."""

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd

from dml._storage.archives import tar_members
from dml._storage.cells import count_rows, is_image, read_schema
from dml._storage.columns import joined, typed, with_numbers
from dml._storage.remote import is_url
from dml.datasets._frames import read_frame
from dml.datasets._image_columns import further_columns, image_column, known_labels
from dml.datasets._regions import REGION_COLUMNS, images_of, parts_of, texts_of
from dml.datasets._tar_samples import is_mask, samples_of
from dml.errors import DataError, MissingDataError
from dml.images import ImageError, ImageRef
from dml.images._files import FORMATS, LeftOut, image_files, printable, require_utf8
from dml.images._references import ArchiveMemberRef, CellRef

_LISTS = (".csv", ".parquet")
_COLUMNS = ["id", "path", "label"]
_BETWEEN_LABELS = "|"  # of an image, in an index


class KnownImages(Protocol):
    """The ids and labels of an index, as `dml.index.Index` has them."""

    def ids_of(self, paths: Sequence[str]) -> dict[str, str]:
        """Returns path -> id of those of the paths that are in the index."""
        ...

    def has_label(self, label: str) -> bool:
        """Returns whether an item has a label."""
        ...

    def labelled(self, ids: Sequence[str]) -> set[str]:
        """Returns those of the ids whose item has a label."""
        ...


@dataclass(frozen=True, eq=False)
class _Rows:
    """The images of one source.

    Args:
        table: Columns `id`, `path` (absolute), `label` and those of a list.
        own_ids: Whether a list gave the ids; otherwise they are paths as given.
    """

    table: pd.DataFrame
    own_ids: bool = False


def image_table(
    sources: Sequence[str | os.PathLike[str]], left_out: LeftOut, index: KnownImages | None = None
) -> pd.DataFrame:
    """Returns a table of images with the columns `id`, `path`, `label` and those of lists.

    Args:
        sources: Paths, each of
            a folder: every image in it, as `image_files` finds them, whose label is
            the first folder below it, if any;
            a pattern with `*`, `?` or `[...]`;
            a `.csv` or `.parquet` list with a column `path`, relative to its folder, and optionally
            `id`, `label` (or `class`), a box and a mask, as the data set `table` has them, and
            your own fields;
            a `.tar` shard, uncompressed, whose members `NAME.cls` are labels, as the data set
            `webdataset` has them;
            a `.parquet` or `.arrow` file with the bytes of images, and optionally `label`, a box
            and a mask, as the data set `parquet` has them; a `label` of -1 among named classes, or
            neither text nor integers nor lists of them, is none;
            or an image, which may be at a URL.
            An image's id is its path as given here, in normal form, unless a list has ids.
        left_out: Counter of the files that are not images, and of labels that are none.
        index: The index that the images are to be added to. An image that is already in it keeps
            its id, however its path is written, unless a list has ids. An image without a label, in
            a folder with the name of a label of the index, gets that label, so that a class folder
            can be added by itself; but not if its item in the index has a label, which is kept.

    Returns:
        `path` is absolute; `label` is text, or None.

    Raises:
        MissingDataError: A source is missing or holds no image.
        DataError: A list can't be read, images can't have a column
            (`dml._storage.columns`), two images have the same id or, without ids of a list, the
            same file, or a name is not UTF-8.
    """
    tables, unnamed = [], []
    for source in [os.fspath(source) for source in sources]:
        counted = LeftOut()
        rows = _rows_of(source, counted)
        if not len(rows.table):
            found = f"; {counted}" if counted else ""
            raise MissingDataError(
                printable(source), f"no images there ({', '.join(FORMATS)}){found}"
            )
        require_utf8(rows.table["path"])
        left_out.update(counted)
        try:
            table = typed(rows.table)
        except ValueError as error:
            raise DataError(printable(source), str(error)) from None
        if not rows.own_ids:
            table["id"] = [str(ImageRef.parse(id).normalized()) for id in table["id"]]
        if index is not None:
            use_known(table, index, np.full(len(table), not rows.own_ids))
        if not rows.own_ids:
            unnamed += zip(table["path"], table["id"], strict=True)
        tables.append((source, table))
    table = joined(tables)
    _check_files(unnamed)
    if len(repeated := table.index[table["id"].duplicated()]):
        id, path = table.loc[repeated[0], ["id", "path"]]
        raise DataError(path, f"its id {id!r} occurs more than once")
    return table


def use_known(table: pd.DataFrame, index: KnownImages, unnamed: np.ndarray) -> None:
    """Sets the ids and labels that images have in an index, in place.

    Args:
        table: As `image_table` returns it.
        index: The index.
        unnamed: Booleans, one for each row: whether its id is no more than its path as given.
    """
    if unnamed.any():
        known = index.ids_of(table["path"][unnamed].tolist())
        rows = zip(table["path"], table["id"], unnamed, strict=True)
        table["id"] = [known.get(path, id) if free else id for path, id, free in rows]
    unlabelled = table[table["label"].isna()]
    folders = unlabelled["path"].map(lambda path: os.path.basename(os.path.dirname(path)))
    labels = [name for name in folders.unique() if index.has_label(name)]
    folders = folders[folders.isin(labels)]
    labelled = index.labelled(table["id"][folders.index].tolist())
    folders = folders[~table["id"][folders.index].isin(labelled)]
    table.loc[folders.index, "label"] = folders
    table["label"] = table["label"].astype(object).where(table["label"].notna(), None)


def has_path_as_id(table: pd.DataFrame) -> np.ndarray:
    """Returns for each row of a table of images whether its id is its path, made absolute."""
    return np.array(
        [_absolute(id) == path for id, path in zip(table["id"], table["path"], strict=True)], bool
    )


def _absolute(id):
    """Returns an id as an absolute path; None if it can't be one."""
    try:
        return str(ImageRef.parse(id).absolute())
    except (ImageError, TypeError):  # such as a missing id
        return None


def _check_files(images):
    """Raises DataError if two pairs of path and id are one file with different ids."""
    ids = {}
    for path, id in images:
        if ids.setdefault(path, id) != id:
            raise DataError(path, f"{ids[path]!r} and {id!r} are the same image: name it once")


def _rows_of(source, left_out):
    path = Path(source)
    labels = None
    if path.is_dir():
        below = image_files(source, left_out)
        labels = [file.split(os.sep)[0] if os.sep in file else None for file in below]
        files = [os.path.join(source, file) for file in below]
    elif path.suffix.lower() in _LISTS and path.is_file() and not _has_cells(path):
        return _rows_of_list(path, left_out)
    elif path.suffix.lower() == ".tar" and path.is_file():
        return _rows_of_shard(source, left_out)
    elif path.suffix.lower() in CellRef.SUFFIXES and path.is_file():
        return _rows_of_cells(source, left_out)
    elif path.is_file() or is_url(source):
        files = [source]
    elif glob.has_magic(source):
        files = _matching(source, left_out)
    elif path.exists():
        raise MissingDataError(printable(source), "not a regular file")
    else:
        raise MissingDataError(printable(source), "no such file, folder or pattern")
    paths = [
        str(ImageRef.parse(file).absolute()) if is_url(file) else os.path.abspath(file)
        for file in files
    ]
    columns = {"id": files, "path": paths, "label": labels or [None] * len(files)}
    return _Rows(pd.DataFrame(columns, dtype=object))


def _matching(pattern, left_out):
    """Returns the images that a pattern matches, in order."""
    parts = pattern.split(os.sep)
    fixed = sum(1 for _ in takewhile(lambda part: not glob.has_magic(part), parts))
    folder = os.sep.join([*parts[:fixed], ""])
    if folder and not os.path.isdir(folder):
        return []
    below = image_files(folder, left_out, os.sep.join(parts[fixed:]))
    return [folder + path for path in below]


def _rows_of_list(path, left_out):
    table = read_frame(path)
    if path.suffix.lower() == ".csv":
        table = with_numbers(table)
    if "path" not in table:
        raise DataError(path, f"no column 'path'; it has {', '.join(map(str, table.columns))}")
    _check_complete(table, "path", path)
    own_ids = "id" in table
    if own_ids:
        _check_complete(table, "id", path)
    if "label" not in table and "class" in table:
        table = table.rename(columns={"class": "label"})
    images = list(images_of(table, path)[0])
    taken = [left_out.takes_listed(text) for text in texts_of(table["path"])]
    if not own_ids:
        table["id"] = list(map(str, images))
    table["path"] = [str(image.absolute(path.parent)) for image in images]
    table = table[taken].reset_index(drop=True)
    if "label" not in table:
        table["label"] = None
    others = [name for name in table.columns if name not in (*_COLUMNS, *REGION_COLUMNS)]
    return _Rows(pd.DataFrame(table, columns=[*_COLUMNS, *others]), own_ids)


def _check_complete(table, column, path):
    if len(empty := table.index[table[column].isna()]):
        raise DataError(path, f"row {empty[0] + 1} has no {column}")


def _has_cells(path):
    """Returns whether a list holds images themselves, instead of their paths."""
    if path.suffix.lower() == ".csv":
        return False
    schema = read_schema(path)
    return "path" not in schema.names and any(is_image(field.type) for field in schema)


def _rows_of_cells(source, left_out):
    """Returns the images in a Parquet or Arrow file, with the labels in its column `label`.

    They are parts of images where the file has boxes or masks, as the data set `parquet` has them.
    Several labels of an image, in a list, are one text: a|b, in order and each once.
    """
    schema = read_schema(source)
    column = image_column(schema, source, advice="write a file with only one of them")
    known = known_labels(source, "label") if "label" in schema.names else None
    if known is None:
        labels = [None] * count_rows(source)
        if "label" in schema.names:
            left_out["labels of another type"] += len(labels)
    else:
        labels = [_BETWEEN_LABELS.join(found) or None for found in known]
    cells = [CellRef(source, column, row) for row in range(len(labels))]
    further = pd.DataFrame(further_columns(source, column, len(labels)), dtype=object)
    parts, _ = parts_of([cell.absolute() for cell in cells], further, source, "row {}".format)
    rows = [tuple(map(str, pair)) for pair in zip(cells, parts, strict=True)]
    table = pd.DataFrame(rows, columns=_COLUMNS[:2], dtype=object)
    return _Rows(table.assign(label=pd.Series(labels, dtype=object)))


def _rows_of_shard(source, left_out):
    """Returns the images in a tar, each with the label in the member of its name and `.cls`.

    Names are those of samples in the data set `webdataset`, up to the first dot; `a.left.jpg` may
    have a label of its own, `a.left.cls`. Masks are left out.
    """
    members = tar_members(source)
    masks, label_of = set(), {}
    for fields in samples_of(members).values():
        for field, member in fields.items():
            if is_mask(field):
                masks.add(member)
            label_of[member] = fields.get(f"{os.path.splitext(field)[0]}.cls", fields.get("cls"))
    rows = []
    for member in members:
        is_label = member.lower().endswith(".cls")
        if is_label or member in masks or not left_out.takes(member.removeprefix("./")):
            continue
        image = ArchiveMemberRef(source, member)
        label = None
        if label_of.get(member) is not None:
            label_file = ArchiveMemberRef(source, label_of[member])
            label = label_file.read_bytes().decode("utf-8", "replace").strip()
        rows.append((str(image), str(image.absolute()), label))
    return _Rows(pd.DataFrame(rows, columns=_COLUMNS, dtype=object))
