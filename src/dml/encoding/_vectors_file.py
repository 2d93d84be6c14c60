"""Parquet files of images and their vectors, as `dml embed` writes them."""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet

from dml._arrays import not_unit
from dml._storage.atomic import atomic_path
from dml._storage.columns import frame_of, typed
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DataError

_MARK = b"dml"  # the key of the encoder's name in the file's metadata


def write_vectors(
    path: str | os.PathLike[str], table: pd.DataFrame, vectors: np.ndarray, encoder: OnnxEncoder
) -> None:
    """Writes a table of images and their vectors, and the name of the encoder.

    Args:
        path: The `.parquet` file.
        table: N rows, as `image_table` returns them.
        vectors: Float32 (N, D).
        encoder: The encoder that computed the vectors.
    """
    rows = pa.Table.from_pandas(table, preserve_index=False)
    flat = pa.array(vectors.ravel())
    rows = rows.append_column("vector", pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1]))
    mark = json.dumps({"encoder": encoder.sha256, "dimension": encoder.dimension})
    rows = rows.replace_schema_metadata({**(rows.schema.metadata or {}), _MARK: mark})
    with atomic_path(path) as temporary:
        parquet.write_table(rows, temporary, write_page_checksum=True)


def read_vectors(
    path: str | os.PathLike[str], encoder: OnnxEncoder
) -> tuple[pd.DataFrame, np.ndarray] | None:
    """Returns the table and the vectors (N, D) of a file; None if it is another kind of table.

    Raises:
        DataError: The file is damaged, or another encoder computed its vectors.
    """
    if not Path(path).is_file():
        return None
    try:
        if _MARK not in (parquet.read_schema(path).metadata or {}):
            return None
        rows = parquet.read_table(path, page_checksum_verification=True)
        same_encoder = json.loads(rows.schema.metadata[_MARK])["encoder"] == encoder.sha256
        content = _split(rows, encoder.dimension) if same_encoder else None
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(path, f"can't be read as vectors of `dml embed`: {error}") from None
    if content is None:
        raise DataError(
            path,
            f"its vectors were not computed by {encoder.path}: embed the images again with "
            "this encoder",
        )
    return content


def _split(rows, dimension):
    """Splits an Arrow table into table and vectors; ValueError for another kind of table."""
    column = rows.column("vector").combine_chunks()
    if column.type != pa.list_(pa.float32(), dimension) or column.null_count:
        raise ValueError(f"vectors are not {dimension} numbers each")
    vectors = column.flatten().to_numpy().reshape(-1, dimension)
    if len(bad := not_unit(vectors)):
        raise ValueError(f"vector {bad[0]} is not of length 1")
    return typed(frame_of(rows.drop_columns(["vector"]))), vectors
