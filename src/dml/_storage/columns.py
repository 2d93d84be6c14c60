"""Columns of a table of images: text, whole numbers, numbers, true or false, or missing.

Such a column is a pandas series of the type `object`, `Int64`, `float64` or `boolean`: a missing
value (None, NA, NaN) makes none of the others another one.
"""

import re

import numpy as np

KINDS = {str: "text", int: "whole numbers", float: "numbers", bool: "true or false"}
DTYPES = {str: object, int: "Int64", float: "float64", bool: "boolean"}
TEXTS = ("id", "path", "label", "class", "split", "super_label")  # even if written in digits
RESERVED = ("vector", "similarity", "same", "dml:removed")  # stand beside the fields of an item
INTEGER = re.compile("0|-?[1-9][0-9]*")
NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?")
EXACT = 2**53  # integers up to here are floats, too


def kind_of(column):
    """Returns the Python type of the values of one of these columns."""
    return next((kind for kind, dtype in DTYPES.items() if column.dtype == dtype), str)


def kinds_of(table):
    """Returns name -> Python type of a table of these columns."""
    return {name: kind_of(table[name]) for name in table}


def typed(table):
    """Returns a table whose columns are of these types. Dates become text.

    Args:
        table: A pandas frame. `id`, `path` and `label` become text.

    Raises:
        ValueError: A column is of another kind (lists, bytes), holds infinite values or integers
            of more than 64 bits, or has a name that it can't have; the message names it.
    """
    import pandas as pd

    check_names(table.columns)
    made = {name: typed_column(table[name], name) for name in table}
    return pd.DataFrame(made, index=table.index).reset_index(drop=True)


def check_names(names):
    """Raises ValueError where a column can't have its name."""
    names = list(names)
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ValueError(f"a column has the name {name!r}: columns have names of text")
        if name in RESERVED:
            raise ValueError(
                f"column {name!r} would stand where results have their own: rename or remove it"
            )
        if names.count(name) > 1:
            raise ValueError(f"two columns have the name {name!r}: rename one")


def typed_column(values, name):
    """Returns one column, as of `typed`."""
    import pandas as pd
    from pandas.api import types

    dtype = values.dtype
    if isinstance(dtype, types.CategoricalDtype):
        values = values.astype(object)
        dtype = values.dtype
    kind = None
    if types.is_bool_dtype(dtype):
        kind = bool
    elif types.is_integer_dtype(dtype):
        kind = int
    elif types.is_float_dtype(dtype):
        kind = float
    elif types.is_datetime64_any_dtype(dtype) or types.is_string_dtype(dtype):
        kind = str
    boxed = types.is_object_dtype(dtype)
    if boxed:
        found = types.infer_dtype(values, skipna=True)
        kind = INFERRED.get(found)
    if isinstance(dtype, pd.StringDtype) or (boxed and found in ("string", "empty")):
        return values.astype(object).where(values.notna(), None)
    if name in ("id", "path", "label") and (kind or boxed):
        return texts(values, name)
    if kind is None:
        raise other_kind(values, name)
    if kind is str:
        return texts(values, name)
    if kind is float:
        numbers = values.astype("float64")
        if np.isinf(numbers).any():
            raise ValueError(
                f"column {name!r} holds an infinite value: leave it empty, or write it as text"
            )
        return numbers
    try:
        if kind is int and dtype.kind == "u" and values.max() >= 2**63:
            raise OverflowError
        return values.astype(DTYPES[kind])
    except (OverflowError, TypeError, ValueError):
        raise ValueError(
            f"column {name!r} holds integers of more than 64 bits: write them as text"
        ) from None


INFERRED = {  # what pandas finds in a column of objects
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


def texts(values, name):
    """Returns a column of text; integers without the `.0` that a gap among them has made."""
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


def other_kind(values, name):
    found = sorted({type(value).__name__ for value in values[values.notna()]})
    return ValueError(
        f"column {name!r} holds {' and '.join(found[:3])}: images have text, numbers, true or "
        "false and dates. Remove the column, or write it as text"
    )


def with_numbers(table):
    """Returns a table of texts, as CSV has it, with columns of numbers as numbers.

    A column is of numbers if each of its values is written as one; with a leading zero, as in
    `007`, it is not. Ids and labels stay text.
    """
    import pandas as pd

    made = {n: table[n] if n in TEXTS else number_column(table[n]) for n in table}
    return pd.DataFrame(made, index=table.index)


def number_column(values):
    """Returns a column of texts as numbers, if all of it is."""
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


def joined(tables):
    """Returns the rows of several tables, one behind the other.

    Whole numbers join numbers and text; nothing else joins what is of another kind.

    Args:
        tables: Pairs of a name for messages and a table as of `typed`.

    Raises:
        ValueError: A column is of two kinds; the message names it.
    """
    import pandas as pd

    kinds, of = {}, {}
    for source, table in tables:
        for name in table:
            kind = kind_of(table[name])
            if name in kinds and table[name].isna().all():
                continue
            if name not in kinds or of[name] is None:
                kinds[name] = kind
                of[name] = None if table[name].isna().all() else source
            elif kind is not kinds[name]:
                wider = {frozenset((int, float)): float, frozenset((int, str)): str}
                both = wider.get(frozenset((kind, kinds[name])))
                if both is None:
                    raise ValueError(
                        f"column {name!r} holds {KINDS[kinds[name]]} in {of[name]} and "
                        f"{KINDS[kind]} in {source}: make them alike"
                    )
                kinds[name] = both
    fitting = [fitted(table, kinds, source) for source, table in tables]
    return pd.concat(fitting, ignore_index=True)


def fitted(table, kinds, place):
    """Returns a table with certain columns of certain kinds first, and then its own others.

    Args:
        table: As of `typed`.
        kinds: Name -> Python type.
        place: What has these columns, for messages.

    Raises:
        ValueError: A column is of a kind that does not fit; the message names it.
    """
    import pandas as pd

    made = {}
    for name, kind in kinds.items():
        made[name] = fitted_column(table[name], kind, place) if name in table else None
    others = {name: table[name] for name in table if name not in kinds}
    frame = pd.DataFrame({**made, **others}, index=table.index)
    absent = {name: DTYPES[kind] for name, kind in kinds.items() if name not in table}
    return frame.astype(absent)


def fitted_column(values, kind, place):
    """Returns a column as one of another kind, if nothing is lost."""
    own = kind_of(values)
    if own is kind:
        return values
    there = values[values.notna()]
    if own is int and kind is str:
        return texts(values, values.name)
    exact = own in (int, float) and kind in (int, float) and (there.abs() <= EXACT).all()
    if not len(there) or (exact and (there == there.round()).all()):
        return values.astype(DTYPES[kind])
    example = plain(there.iloc[0])
    raise ValueError(
        f"column {values.name!r} of {place} holds {KINDS[kind]}; got {KINDS[own]}, such as "
        f"{example!r}"
    )


def plain(value):
    """Returns a value of a column as Python has it; None for what is missing."""
    import pandas as pd

    value = value.item() if isinstance(value, np.generic) else value
    return None if value is None or value is pd.NA or value != value else value


def read_parquet(source, columns=None):
    """Returns the table in a Parquet file, as of `frame_of`.

    Args:
        source: As PyArrow takes it.
        columns: Names of those that are read; None for all.

    Raises:
        pyarrow.ArrowException, OSError: It is none, or damaged.
    """
    import pyarrow.parquet as parquet

    table = parquet.read_table(source, columns=columns, page_checksum_verification=True)
    table.validate(full=True)  # texts are UTF-8
    return frame_of(table)


def frame_of(table):
    """Returns a PyArrow table as a pandas frame, in which integers with gaps stay integers."""
    import pandas as pd
    import pyarrow as pa

    integers = (pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32())
    types = dict.fromkeys(integers, pd.Int64Dtype())
    types |= {pa.uint64(): pd.UInt64Dtype(), pa.bool_(): pd.BooleanDtype()}
    return table.to_pandas(types_mapper=types.get).reset_index(drop=True)
