"""Opening and building indexes, on disk or in Milvus."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import MissingDataError, OccupiedError, OptionError
from dml.index._interface import Index

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

SCHEME = "milvus://"


def open_index(location: str | os.PathLike[str]) -> Index:
    """Opens an index.

    Args:
        location: An index's folder; `milvus://HOST[:PORT][/COLLECTION]`; or a `.db` of milvus-lite.

    Returns:
        The `Index`.

    Raises:
        MissingDataError: There is no index.
        DataError: It is damaged.
        StorageError: Milvus does not answer.

    Example:
        >>> index = dml.index.open_index("photos.index")  # doctest: +SKIP
        >>> items, count = index.page('label == "cat"', limit=10)  # doctest: +SKIP
    """
    return _class_of(location).open(normal_location(location))


def build_index(
    location: str | os.PathLike[str],
    encoder: OnnxEncoder,
    items: pd.DataFrame,
    vectors: np.ndarray,
    kind: str = "auto",
    recall: float = 0.95,
) -> Index:
    """Writes a new index and returns it.

    Args:
        location: As `open_index` takes it; it must not exist yet.
        encoder: The encoder that computed the vectors.
        items: A pandas DataFrame with `id`, `path`, `label` and your own fields.
        vectors: Float32 (N, D), of unit length. The array may be reordered in place.
        kind: `auto`, `flat`, `hnsw`, `ivf_pq`, `int8` or `binary`; in Milvus one of the first
            three.
        recall: Target recall, the share of the true nearest 10 that are found; in (0, 1].

    Returns:
        The index, open.

    Raises:
        OccupiedError: `location` exists already.
        OptionError: An option is out of its range.
        ValueError: Items or vectors can't be stored.
        StorageError: Milvus does not answer.

    Example:
        >>> import pandas as pd
        >>> items = pd.DataFrame({"id": ["a", "b"], "path": ["a.jpg", "b.jpg"], "label": "cat"})
        >>> encoder = dml.OnnxEncoder("runs/mine/bundle")  # doctest: +SKIP
        >>> vectors = np.eye(2, encoder.dimension, dtype="float32")  # doctest: +SKIP
        >>> index = dml.index.build_index("cats.index", encoder, items, vectors)  # doctest: +SKIP
    """
    build = _class_of(location).build
    return build(normal_location(location), encoder, items, vectors, kind, recall)


def check_build(
    location: str | os.PathLike[str], items: pd.DataFrame, kind: str = "auto", recall: float = 0.95
) -> None:
    """Raises the errors of `build_index` before any vectors are computed."""
    _class_of(location).check_build(items, kind, recall)


def check_free(location: str | os.PathLike[str]) -> None:
    """Raises OccupiedError if a location exists already."""
    if is_milvus(location):
        try:
            open_index(location)
        except MissingDataError:
            return
    elif not os.path.lexists(location):
        return
    raise OccupiedError(location, "already exists: remove it or choose another --out")


def is_milvus(location: str | os.PathLike[str]) -> bool:
    """Returns whether a location is a Milvus collection: `milvus://HOST`, or a `.db`."""
    return str(location).startswith(SCHEME) or Path(location).suffix == ".db"


def normal_location(location: str | os.PathLike[str]) -> str:
    """Returns a location in normal form: a folder or file without a trailing slash.

    Raises:
        OptionError: It is empty.
    """
    if not os.fspath(location):  # Path("") is the current folder
        raise OptionError("location", "must name an index. The name is empty")
    return str(location) if str(location).startswith(SCHEME) else str(Path(location))


def _class_of(location):
    """Returns the class of the index at a location."""
    if is_milvus(location):
        from dml.index._milvus_index import MilvusIndex

        return MilvusIndex
    from dml.index._faiss_index import FaissIndex

    return FaissIndex
