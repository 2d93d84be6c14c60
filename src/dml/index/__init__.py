"""Search among the vectors of images, kept in a folder or in Milvus."""

import os
from pathlib import Path

from dml.index.faiss_index import FaissIndex
from dml.index.index import Index

__all__ = [
    "FaissIndex",
    "Index",
    "build_index",
    "check_build",
    "check_free",
    "is_milvus",
    "open_index",
    "plain_location",
]


def is_milvus(location):
    """Returns whether a location is a Milvus collection: `milvus://host`, or a `.db`."""
    return str(location).startswith("milvus://") or Path(location).suffix == ".db"


def plain_location(location):
    """Returns a location in one spelling: of a folder or file, without a slash at its end."""
    return location if str(location).startswith("milvus://") else str(Path(location))


def open_index(location):
    """Returns the `Index` at a location.

    Args:
        location: An index's folder; `milvus://HOST[:PORT][/COLLECTION]`; or a `.db` of milvus-lite.

    Raises:
        FileNotFoundError: There is no index.
        ValueError: It is damaged.
        OSError: Milvus does not answer.
    """
    return class_of(location)(plain_location(location))


def class_of(location):
    """Returns the class of the index at a location."""
    if is_milvus(location):
        from dml.index.milvus_index import MilvusIndex

        return MilvusIndex
    return FaissIndex


def build_index(location, encoder, items, vectors, kind="auto", recall=0.95):
    """Writes a new index and returns it: `FaissIndex.build`, or `MilvusIndex.build`.

    Args:
        location: As `open_index` takes it.
        encoder: As `FaissIndex.build` takes it, as are the rest.
    """
    build = class_of(location).build
    return build(plain_location(location), encoder, items, vectors, kind, recall)


def check_free(location):
    """Raises FileExistsError where there is something at a location."""
    if is_milvus(location):
        try:
            open_index(location)
        except FileNotFoundError:
            return
    elif not os.path.lexists(location):
        return
    raise FileExistsError(f"{location} is there already: remove it or choose another --out")


def check_build(location, items, kind="auto", recall=0.95):
    """Raises ValueError where `build_index` would, before there are vectors."""
    class_of(location).check_build(items, kind, recall)
