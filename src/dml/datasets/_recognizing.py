"""Recognises which data set a path is: a folder of images, shards, or neither."""

import os

from dml._storage.cells import is_image, read_schema
from dml.datasets._hugging_face import PREFIX
from dml.datasets._regions import MASK
from dml.datasets._shards import is_pattern
from dml.datasets.parquet import Parquet
from dml.datasets.webdataset import WebDataset
from dml.images._files import FORMATS, RUN, folders_below, suffix_of

SHARDED = (WebDataset, Parquet)  # recognised by the suffixes of their files


def data_set_at(path: str | os.PathLike[str]) -> str | None:
    """Returns the name of the data set that a path holds, by the suffixes of its files; or None.

    Args:
        path: A folder of class folders or of shards, a shard, a pattern of shards, a list of
            images, or "hf:NAME_OR_PATH[:SPLIT]".

    Raises:
        DataError: A Parquet file is damaged.
    """
    path = os.path.expanduser(os.fspath(path))
    if path.startswith(PREFIX):
        return Parquet.name
    if os.path.isfile(path) and suffix_of(path) in (".csv", ".parquet") and not _has_images(path):
        return "table"
    if os.path.isdir(path):
        return _in_folder(path)
    if os.path.isfile(path) or is_pattern(path):
        return _sharded(path)
    return None


def _in_folder(folder):
    """Returns `folder` unless it holds shards, and no images in folders."""
    found = None
    for place, folders, names in folders_below(folder):
        if set(names) >= RUN:
            folders.clear()
            continue
        for name in names:
            if place != folder and suffix_of(name) in FORMATS:
                return "folder"
            found = found or (None if name.startswith(".") else _sharded(name))
    return found or "folder"


def _has_images(path):
    """Returns whether a file is a Parquet file with a column that may hold images."""
    if suffix_of(path) == ".csv":
        return False
    return any(is_image(field.type) for field in read_schema(path) if field.name != MASK)


def _sharded(path):
    """Returns the name of the data set whose shards have the suffix of a path; or None."""
    for kind in SHARDED:
        if path.lower().endswith((*kind.suffixes, *kind.refused)):
            return kind.name
    return None
