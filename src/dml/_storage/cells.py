"""Images in the cells of Parquet and Arrow files: read in any order, in bounded memory.

An Arrow file, as `save_to_disk` of Hugging Face's `datasets` writes it, is mapped into memory. Of a
Parquet file the page of an image is unpacked, and the pages that were read last are kept; where
pages can't be read one by one, its row group.
"""

import contextlib
import functools
import os
import struct
import threading
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from dml._storage.archives import check_size, require_regular
from dml._storage.pages import OtherEncoding, read_chunk, read_values
from dml.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData

MOST_KEPT = 2**28  # bytes of the pages and row groups that are kept
MOST_UNPACKED = 2**30  # bytes of the images in a row group
ROWS = 8  # that are unpacked at once, after which the bytes are counted
DAMAGE = (ArithmeticError, LookupError, MemoryError, OSError, ValueError, struct.error)


def read_cell(path: str, column: str, row: int) -> bytes:
    """Returns the image in a row of a Parquet or Arrow file.

    Args:
        path: The file; its suffix says which of them it is.
        column: A column of bytes, or of structs with `bytes`.
        row: Its row.

    Raises:
        OSError: The file is missing, or can't be read.
        DataError: It is damaged, or not a regular file, or there is no image in that cell.
    """
    status = require_regular(path)
    version = path, status.st_size, status.st_mtime_ns, column
    with naming_damage(path):
        if is_parquet(path):
            value = cell_of_parquet(version, row)
        else:
            images = mapped(*version)
            value = images[row].as_buffer() if row < len(images) else None
            if row >= len(images):
                raise DataError(path, f"has no row {row}")
        if value is None:
            raise DataError(path, f"there is no image in row {row}")
        check_size(path, len(value))
        return bytes(value)


def cell_of_parquet(version, row):
    """Returns the bytes in a row of a Parquet file; None if there are none.

    Args:
        version: Path, size and time of the file, and the column.
        row: The row.
    """
    path, *_, column = version
    layout = parquet_layout(*version)
    if row >= layout.starts[-1]:
        raise DataError(path, f"has no row {row}")
    group = int(np.searchsorted(layout.starts, row, side="right")) - 1
    row -= int(layout.starts[group])
    key = (*version, group)
    try:
        with open(path, "rb") as file:
            return page_of(file, layout, key, row)
    except OtherEncoding:
        images = KEPT.get(key, lambda: unpacked_group(path, column, group))
        return images[row].as_buffer()


def page_of(file, layout, key, row):
    """Returns the bytes in a row of a row group, from their page.

    Args:
        file: The open file.
        layout: Its `Layout`.
        key: What tells the row group from others.
        row: The row within it.

    Raises:
        OtherEncoding: The values are packed in a way that PyArrow has to unpack.
    """
    group = key[-1]
    chunk = KEPT.get((*key, "pages"), lambda: read_chunk(file, layout.about, group, layout.leaf))
    number = int(np.searchsorted(chunk.starts, row, side="right")) - 1

    def values():
        dictionary = chunk.dictionary and KEPT.get(
            (*key, "dictionary"), lambda: read_values(file, chunk, chunk.dictionary)
        )
        return read_values(file, chunk, chunk.pages[number], dictionary)

    return KEPT.get((*key, number), values)[row - int(chunk.starts[number])]


def read_schema(path: str | os.PathLike[str]) -> "pa.Schema":
    """Returns the schema of a Parquet or Arrow file.

    Raises:
        OSError, DataError: As for `read_cell`; or two columns have the same name.
    """
    import pyarrow.parquet as parquet

    require_regular(path)
    with naming_damage(path):
        schema = parquet.read_schema(path) if is_parquet(path) else arrow_table(path).schema
    if (twice := repeated_name(schema)) is not None:
        raise DataError(path, f"two columns have the name {twice!r}: rename one")
    return schema


def repeated_name(schema: "pa.Schema") -> str | None:
    """Returns the first name that two columns of a file have; None if all differ."""
    counts = Counter(schema.names)
    return next((name for name in counts if counts[name] > 1), None)


def is_parquet(path: str | os.PathLike[str]) -> bool:
    """Returns whether a file is Parquet, by its suffix in any case; others are Arrow files."""
    return os.fspath(path).lower().endswith(".parquet")


def count_rows(path: str | os.PathLike[str]) -> int:
    """Returns the number of rows of a Parquet or Arrow file.

    Raises:
        OSError, DataError: As for `read_cell`.
    """
    import pyarrow.parquet as parquet

    require_regular(path)
    with naming_damage(path):
        if is_parquet(path):
            return parquet.read_metadata(path).num_rows
        return arrow_table(path).num_rows


def is_image(kind: "pa.DataType") -> bool:
    """Returns whether a column of this type may hold images: bytes, or structs with `bytes`."""
    import pyarrow as pa

    if pa.types.is_struct(kind):
        place = kind.get_field_index("bytes")
        return place >= 0 and is_image(kind.field(place).type)
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


@contextlib.contextmanager
def naming_damage(path) -> Iterator[None]:
    """Converts the errors that damaged files raise to a DataError."""
    import pyarrow as pa

    try:
        yield
    except (DataError, FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, *DAMAGE) as e:
        raise DataError(path, f"damaged: {str(e).partition(chr(10))[0]}") from None


@dataclass(frozen=True, eq=False)
class Layout:
    """Where the images of a Parquet file are.

    Args:
        about: The file's metadata.
        starts: The first row of each row group, and after them the number of rows.
        leaf: The column of the bytes, counted among the leaves.
    """

    about: "FileMetaData"
    starts: np.ndarray
    leaf: int


@functools.lru_cache(maxsize=256)
def parquet_layout(path, size, time, column):
    """Returns the `Layout` of a column of a Parquet file of this size and time."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    about = parquet.read_metadata(path)
    kind = image_type(about.schema.to_arrow_schema(), column, path)
    wanted = f"{column}.bytes" if pa.types.is_struct(kind) else column
    leaves = [about.schema.column(n).path for n in range(about.num_columns)]
    rows = [about.row_group(n).num_rows for n in range(about.num_row_groups)]
    if min(rows, default=0) < 0:
        raise DataError(path, "damaged: a row group has less than no rows")
    return Layout(about, np.cumsum([0, *rows]), leaves.index(wanted))


def unpacked_group(path, column, group):
    """Returns the images in a row group of a Parquet file, as Arrow's binary values."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    chunks, size = [], 0
    with parquet.ParquetFile(path, page_checksum_verification=True, pre_buffer=False) as file:
        kind = image_type(file.schema_arrow, column, path)
        leaf = f"{column}.bytes" if pa.types.is_struct(kind) else column
        for batch in file.iter_batches(ROWS, [group], [leaf], use_threads=False):
            images = bytes_of(batch.column(0))
            size += images.nbytes
            if size > MOST_UNPACKED:
                raise DataError(
                    path,
                    f"a row group has more than {MOST_UNPACKED // 2**30} GiB of images: write it "
                    'with fewer rows a group, or with the encoding "PLAIN"',
                )
            chunks.append(images)
    return pa.chunked_array(chunks, chunks[0].type if chunks else pa.binary())


def image_type(schema, column, path):
    """Returns the type of a column of images.

    Raises:
        DataError: There is no such column, or it does not hold images.
    """
    place = schema.get_field_index(column)
    if place < 0 or not is_image(schema.field(place).type):
        raise DataError(path, f"has no column of images named {column!r}")
    return schema.field(place).type


def bytes_of(column):
    """Returns a column of bytes or structs with `bytes` as one of bytes."""
    import pyarrow as pa

    if not pa.types.is_struct(column.type):
        return column
    names = [column.type.field(n).name for n in range(column.type.num_fields)]
    return column.flatten()[names.index("bytes")]  # empty where the struct is


@functools.lru_cache(maxsize=1024)
def mapped(path, size, time, column):
    """Returns the images of an Arrow file as binary values that stay in the mapped file."""
    import pyarrow as pa

    table = arrow_table(path)
    image_type(table.schema, column, path)
    found = table.column(column)
    found.validate(full=True)  # no value lies outside of the file
    chunks = [bytes_of(chunk) for chunk in found.chunks]
    images = pa.chunked_array(chunks, chunks[0].type if chunks else pa.binary())
    if images.nbytes > size:
        raise DataError(path, "compressed: images are read in random order; write it uncompressed")
    return images


def arrow_table(path: str | os.PathLike[str]) -> "pa.Table":
    """Returns the table in an Arrow file, in the format of streams or of files; not validated."""
    import pyarrow as pa

    source = pa.memory_map(os.fspath(path))
    try:
        return pa.ipc.open_stream(source).read_all()
    except pa.ArrowInvalid:
        return pa.ipc.open_file(source).read_all()


class Kept:
    """What was computed last, for several threads: each key is computed once at a time.

    Args:
        most: Bytes that are kept.
    """

    def __init__(self, most: int):
        self.most = most
        self.lock = threading.Lock()
        self.found: OrderedDict[Hashable, Future] = OrderedDict()  # that used last at the end
        self.sizes: dict[Hashable, int] = {}  # of those that are computed
        self.total = 0

    def get(self, key: Hashable, compute: Callable):
        """Returns what is kept under a key, or else computes it: something with `nbytes`."""
        with self.lock:
            known = key in self.found
            future = self.found.setdefault(key, Future())
            self.found.move_to_end(key)
        if known:
            return future.result()
        try:
            value = compute()
        except BaseException as error:
            with self.lock:
                del self.found[key]
            future.set_exception(error)
            raise
        future.set_result(value)
        with self.lock:
            self.sizes[key] = value.nbytes
            self.total += value.nbytes
            self.drop_oldest(key)
        return value

    def drop_oldest(self, newest: Hashable):
        """Drops what was used longest ago, but not the newest, until the rest is small enough."""
        while self.total > self.most:
            computed = (key for key in self.found if key in self.sizes and key != newest)
            if (oldest := next(computed, None)) is None:
                return
            del self.found[oldest]
            self.total -= self.sizes.pop(oldest)


KEPT = Kept(MOST_KEPT)
