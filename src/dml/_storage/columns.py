"""Columns of a table of images: text, integers, floats or booleans, any of them missing.

Such a column is a pandas series of the type `object`, `Int64`, `float64` or `boolean`, so that a
missing value (None, NA, NaN) does not change the type of the others.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from dml.errors import ArrayError

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

KINDS = {str: "text", int: "whole numbers", float: "numbers", bool: "true or false"}
DTYPES = {str: object, int: "Int64", float: "float64", bool: "boolean"}
TEXTS = ("id", "path", "label", "class", "split", "super_label")  # even if they consist of digits
RESERVED = ("vector", "similarity", "same", "dml:removed")  # keys of results, next to the fields
INTEGER = re.compile("0|-?[1-9][0-9]{0,3999}")  # Python converts no more than 4,300 digits
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
EXACT = 2**53  # integers up to here are exact as floats


def kind_of(column: "pd.Series") -> type:
    """Returns the Python type of the values of one of these columns."""
    return next((kind for kind, dtype in DTYPES.items() if column.dtype == dtype), str)


def kinds_of(table: "pd.DataFrame") -> dict[str, type]:
    """Returns name -> Python type of a table of these columns."""
    return {str(name): kind_of(column) for name, column in table.items()}


def typed(table: "pd.DataFrame") -> "pd.DataFrame":
    """Returns a table converted to columns of these types. Dates become text.

    Args:
        table: A pandas DataFrame. `id`, `path` and `label` become text.

    Raises:
        ArrayError: A column has another type (lists, bytes), holds infinite values or integers
            of more than 64 bits, or has a name that is not allowed; the message names it.
    """
    import pandas as pd

    check_names(table.columns)
    made = {name: typed_column(table[name], name) for name in table}
    return pd.DataFrame(made, index=table.index).reset_index(drop=True)


def check_names(names: Iterable[Any]) -> None:
    """Raises ArrayError if a column has a name that is not allowed."""
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ArrayError(f"a column has the name {name!r}: columns have names of text")
        if name in RESERVED:
            raise ArrayError(
                f"column {name!r} has a name that results use themselves: rename or remove it"
            )
        if names.count(name) > 1:
            raise ArrayError(f"two columns have the name {name!r}: rename one")


def typed_column(values: "pd.Series", name: str) -> "pd.Series":
    """Returns one column of `typed`."""
    import pandas as pd
    from pandas.api import types

    if isinstance(values.dtype, types.CategoricalDtype):
        values = values.astype(object)
    boxed = types.is_object_dtype(values.dtype)
    found = types.infer_dtype(values, skipna=True) if boxed else ""
    if isinstance(values.dtype, pd.StringDtype) or found in ("string", "empty"):
        return values.astype(object).where(values.notna(), None)
    kind = _INFERRED.get(found) if boxed else _kind_of_dtype(values.dtype)
    if name in ("id", "path", "label") and (kind or boxed):
        kind = str
    if kind is None:
        raise other_kind(values, name)
    if kind is str:
        return texts(values, name)
    if kind is float:
        return _finite(values, name)
    try:
        if values.dtype.kind == "u" and (values.dropna() >= 2**63).any():
            raise OverflowError
        return values.astype(DTYPES[kind])
    except (OverflowError, TypeError, ValueError):
        raise ArrayError(
            f"column {name!r} holds integers of more than 64 bits: write them as text"
        ) from None


def _kind_of_dtype(dtype: Any) -> type | None:
    """Returns the Python type of the values of a pandas dtype that is not `object`."""
    from pandas.api import types

    kinds = {
        bool: types.is_bool_dtype,
        int: types.is_integer_dtype,
        float: types.is_float_dtype,
        str: lambda x: types.is_datetime64_any_dtype(x) or types.is_string_dtype(x),
    }
    return next((kind for kind, holds in kinds.items() if holds(dtype)), None)


def _finite(values: "pd.Series", name: str) -> "pd.Series":
    """Returns a column of floats; raises ArrayError if one is infinite."""
    numbers = values.astype("float64")
    if np.isinf(numbers).any():
        raise ArrayError(
            f"column {name!r} holds an infinite value: leave it empty, or write it as text"
        )
    return numbers


_INFERRED = {  # what pandas infers of a column of objects
    "string": str,
    "empty": str,
    "date": str,
    "datetime": str,
    "datetime64": str,
    "boolean": bool,
    "integer": int,
    "floating": float,
    "mixed-integer-float": float,
    "decimal": float,
}


def texts(values: "pd.Series", name: str) -> "pd.Series":
    """Returns a column of text; integers without the `.0` that they get next to missing values."""
    import pandas as pd

    missing = values.isna().to_numpy()
    found = np.full(len(values), None, object)
    for row, value in enumerate(values):
        if missing[row]:
            continue
        if isinstance(value, list | tuple | dict | set | bytes | np.ndarray):
            raise other_kind(values, name)
        whole = isinstance(value, float) and value.is_integer()
        found[row] = str(int(value) if whole else value)
    return pd.Series(found, values.index, dtype=object)


def other_kind(values: "pd.Series", name: str) -> ArrayError:
    """Returns the error for a column of values that no image has."""
    found = sorted({type(value).__name__ for value in values[values.notna()]})
    return ArrayError(
        f"column {name!r} holds {' and '.join(found[:3])}: images have text, numbers, true or "
        "false and dates. Remove the column, or write it as text"
    )


def with_numbers(table: "pd.DataFrame") -> "pd.DataFrame":
    """Returns a table of texts, as read from CSV, with numeric columns converted to numbers.

    A column is converted if each of its values is written as a number, without leading zeros as in
    `007`. Ids and labels stay text.
    """
    import pandas as pd

    made = {n: table[n] if n in TEXTS else number_column(table[n]) for n in table}
    return pd.DataFrame(made, index=table.index)


def number_column(values):
    """Returns a column of texts as numbers, if all of them are."""
    import pandas as pd

    there = values[values.notna()]
    if not len(there) or not there.map(lambda text: NUMBER.fullmatch(text) is not None).all():
        return values
    whole = there.map(lambda text: INTEGER.fullmatch(text) is not None)
    largest = there[whole].map(lambda text: abs(int(text))).max() if whole.any() else 0
    if whole.all() and largest < 2**63:
        integers = pd.array(there.map(int).tolist(), "Int64")
        return pd.Series(integers, there.index).reindex(values.index)
    numbers = there.map(float)
    if largest > EXACT or np.isinf(numbers).any():
        return values
    return numbers.astype("float64").reindex(values.index)


def joined(tables: "Sequence[tuple[str, pd.DataFrame]]") -> "pd.DataFrame":
    """Returns the rows of several tables, one after the other.

    Integers may be joined with floats and with text; other kinds can't be mixed.

    Args:
        tables: Pairs of a name for messages and a table that `typed` returned.

    Raises:
        ArrayError: A column has two types; the message names it.
    """
    import pandas as pd

    kinds, of = {}, {}
    for source, table in tables:
        for name, column in table.items():
            kind, is_empty = kind_of(column), bool(column.isna().all())
            if name in kinds and is_empty:
                continue
            if name not in kinds or of[name] is None:
                kinds[name] = kind
                of[name] = None if is_empty else source
            elif kind is not kinds[name]:
                wider = {frozenset((int, float)): float, frozenset((int, str)): str}
                both = wider.get(frozenset((kind, kinds[name])))
                if both is None:
                    raise ArrayError(
                        f"column {name!r} holds {KINDS[kinds[name]]} in {of[name]} and "
                        f"{KINDS[kind]} in {source}: use one type"
                    )
                kinds[name] = both
    fitting = [fitted(table, kinds, source) for source, table in tables]
    return pd.concat(fitting, ignore_index=True)


def fitted(table: "pd.DataFrame", kinds: Mapping[str, type | None], place: str) -> "pd.DataFrame":
    """Returns a table with certain columns, converted to certain types, followed by its other ones.

    Args:
        table: As `typed` returns it.
        kinds: Name -> Python type; None for that of the table.
        place: Where these columns come from, for messages.

    Raises:
        ArrayError: A column has an incompatible type; the message names it.
    """
    import pandas as pd

    made = {}
    for name, kind in kinds.items():
        column = table.get(name)
        made[name] = column if column is None or not kind else fitted_column(column, kind, place)
    others = {name: table[name] for name in table if name not in kinds}
    frame = pd.DataFrame({**made, **others}, index=table.index)
    absent = {name: DTYPES[kind or str] for name, kind in kinds.items() if name not in table}
    return frame.astype(absent)


def fitted_column(values, kind, place):
    """Returns a column converted to another type, if the conversion is exact."""
    own = kind_of(values)
    if own is kind:
        return values
    there = values[values.notna()]
    if own is int and kind is str:
        return texts(values, values.name)
    wrong = there
    if own in (int, float) and kind in (int, float):
        wrong = there[(there.abs() > EXACT) | (there != there.round())]
    if not len(wrong):
        return values.astype(DTYPES[kind])
    example = plain(wrong.iloc[0])
    raise ArrayError(
        f"column {values.name!r} of {place} holds {KINDS[kind]}; got {KINDS[own]}, such as "
        f"{example!r}"
    )


def plain(value: Any) -> Any:
    """Returns a value of a column as a Python object; None if it is missing."""
    import pandas as pd

    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value is pd.NA or value != value else value


def read_parquet(source: Any, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Returns the table in a Parquet file, converted by `frame_of`.

    Args:
        source: As PyArrow takes it.
        columns: Names of those that are read; None for all.

    Raises:
        pyarrow.ArrowException, OSError: It is not a Parquet file, or damaged.
    """
    import pyarrow.parquet as parquet

    table = parquet.read_table(source, columns=columns, page_checksum_verification=True)
    table.validate(full=True)  # texts are UTF-8
    return frame_of(table)


def frame_of(table: "pa.Table") -> "pd.DataFrame":
    """Returns a PyArrow table as a pandas frame, in which integers with gaps stay integers."""
    import pandas as pd
    import pyarrow as pa

    integers = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())
    types = dict.fromkeys(integers, pd.Int64Dtype())
    types |= {pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return table.to_pandas(types_mapper=types.get).reset_index(drop=True)
