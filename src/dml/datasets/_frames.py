"""Tables of images as pandas frames, read from CSV and Parquet files."""

import os
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dml._storage.cells import arrow_table, is_parquet, read_schema, repeated_name
from dml._storage.columns import read_parquet
from dml.errors import DataError
from dml.images._files import is_utf8

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_MOST_BYTES = 2**32  # of a table's values
_DAMAGE = (  # what pandas raises for damaged files, and pyarrow in addition to its own errors
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
_MORE_FIELDS = re.compile(r"Expected (\d+) fields in line (\d+), saw (\d+)")  # pandas' words
REQUIRED = ("path", "label")


def read_frame(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None
) -> "pd.DataFrame":
    """Returns the table in a CSV or Parquet file. CSV is all text; integers stay integers.

    Args:
        path: The file.
        columns: Those to read of a Parquet file, if it has them; it must have `REQUIRED`. None
            for all.

    Raises:
        DataError: It is neither, or corrupt, or empty.
    """
    import pyarrow

    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError(path, "expected a .csv or .parquet file")
    if not Path(path).is_file():
        raise DataError(path, "not a regular file")
    try:
        if suffix == ".csv":
            frame = _read_csv(path)
        else:
            frame = read_parquet(path, _checked_columns(path, columns))
    except UnicodeDecodeError as error:
        reason = f"{_first_not_utf8(path)}: save it as UTF-8" if suffix == ".csv" else str(error)
        raise DataError(path, reason) from None
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        raise DataError(path, f"can't be read as a table: {error}") from None
    if not len(frame):
        raise DataError(path, "the table has no rows")
    return frame


def _checked_columns(path, columns):
    """Returns which columns of a Parquet file are read, after a check of its unpacked size.

    A few bytes can repeat a long text a billion times, so each text is counted as often as it
    occurs.

    Args:
        path: The file.
        columns: As for `read_frame`.

    Raises:
        ValueError: It has no path or label, lists in a column, two columns of one name, or more
            than `_MOST_BYTES`; without the name of the file, which `read_frame` adds.
    """
    import pyarrow as pa
    import pyarrow.parquet as parquet

    schema = parquet.read_schema(path)
    if columns is not None and (absent := [n for n in REQUIRED if n not in schema.names]):
        raise ValueError(f"no column {absent[0]!r}; it has {', '.join(schema.names)}")
    if (twice := repeated_name(schema)) is not None:
        raise ValueError(f"two columns have the name {twice!r}: rename one")
    fields = [field for field in schema if columns is None or field.name in columns]
    for field in fields:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(kind):
            raise ValueError(
                f"column {field.name!r} holds {kind}: images have text, numbers, true or false "
                "and dates. Remove the column, or write it as text"
            )
    names = [field.name for field in fields]
    _check_unpacked(path, names)
    return names


def item_type(kind: "pa.DataType") -> "pa.DataType | None":
    """Returns the type of the items in a column of lists; None for another column."""
    import pyarrow as pa

    are_lists = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return kind.value_type if any(are(kind) for are in are_lists) else None


def read_values(path: str | os.PathLike[str], columns: Sequence[str]) -> dict[str, list]:
    """Returns name -> values, None where they are missing, of columns in a Parquet or Arrow file.

    Args:
        path: The file; `.parquet`, in any case, tells which it is.
        columns: Names of columns, of values or of lists of them.

    Raises:
        DataError: It is damaged, a column is missing or of records, or its values are too large.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    schema = read_schema(path)
    for name in columns:
        if name not in schema.names:
            raise DataError(path, f"no column {name!r}; it has {', '.join(schema.names)}")
        kind = schema.field(name).type
        if pyarrow.types.is_nested(item_type(kind) or kind):
            raise DataError(path, f"column {name!r} holds {kind}")
    try:
        if is_parquet(path):
            _check_unpacked(path, columns)
            table = parquet.read_table(
                path, columns=list(columns), page_checksum_verification=True, partitioning=None
            )
        else:
            table = arrow_table(path).select(columns)
        table.validate(full=True)
        return {name: table.column(name).to_pylist() for name in columns}
    except (pyarrow.ArrowException, *_DAMAGE) as error:
        raise DataError(path, f"can't be read as a table: {error}") from None


def _check_unpacked(path, columns):
    """Raises an error for columns of more than `_MOST_BYTES`.

    Args:
        path: The Parquet file.
        columns: Their names; of values, or of lists of them.

    Raises:
        ValueError: Without the name of the file.
    """
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    inner = tuple(f"{name}." for name in columns)  # as the items of a list are named
    leaves = [
        (number, leaf)
        for number, leaf in enumerate(parquet.ParquetFile(path).schema)
        if leaf.path in columns or leaf.path.startswith(inner)
    ]
    texts = [leaf.path for _, leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    file = parquet.ParquetFile(path, read_dictionary=texts)
    size = 0
    for group in range(file.metadata.num_row_groups):
        counts = file.metadata.row_group(group)
        size += sum(8 * counts.column(number).num_values for number, _ in leaves)
        if size > _MOST_BYTES:
            break
        for column in file.read_row_group(group, texts, use_threads=False).columns:
            for part in column.chunks:
                if item_type(part.type) is not None:
                    part = part.flatten()
                lengths = pc.call_function("binary_length", [part.dictionary])
                counted = pc.call_function("sum", [lengths.take(part.indices)])
                size += counted.as_py() or 0
    if size > _MOST_BYTES:
        raise ValueError(f"it unpacks to more than {_MOST_BYTES // 2**30} GiB")


def _read_csv(path):
    """Returns the table in a CSV file, as text: pandas would read 01 as 1, and NA as missing.

    Spaces after commas and around column names are dropped, and so are commas at the end of lines.

    Raises:
        ValueError: It is empty; or its columns are separated by something else; or a line has more
            fields than the first one; or two columns have the same name.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            options = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            options |= {"index_col": False, "skipinitialspace": True}
            # Read as data, since pandas renames the second of two equal names.
            names = pd.read_csv(path, header=None, nrows=1, **options).iloc[0].dropna()
            _check_separated(names)
            frame = pd.read_csv(path, **options)
        except pd.errors.EmptyDataError:
            raise ValueError("the file is empty") from None
        except pd.errors.ParserWarning:
            raise ValueError("rows have more fields than the first line has names") from None
        except pd.errors.ParserError as error:
            if not (found := _MORE_FIELDS.search(str(error))):
                raise
            expected, line, fields = found.groups()
            text = f"line {line} has {fields} fields, and the lines before it {expected}"
            raise ValueError(f"{text}. Write a field that has a comma in quotes") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    names = names.str.strip()
    if len(twice := names[names.duplicated()]):
        raise ValueError(f"two columns have the name {twice.iloc[0]!r}")
    unnamed = [n for n in frame if n.startswith("Unnamed: ") and frame[n].isna().all()]
    return frame.drop(columns=unnamed)


def _check_separated(names):
    """Raises ValueError if the only column name looks like several with another separator."""
    for separator, word in ((";", "semicolons"), ("\t", "tabs")):
        if len(names) == 1 and separator in names.iloc[0]:
            raise ValueError(f"its columns are separated by {word}: save it with commas")


def _first_not_utf8(path):
    """Returns a message naming the first line of a file that is not UTF-8."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if b"\0" in line or not is_utf8(os.fsdecode(line)):
                return f"line {number} is not UTF-8 text"
    return "it is not UTF-8 text"
