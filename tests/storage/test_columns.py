"""Columns of images have four types, and conversion to these is lossless."""

import datetime
import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from dml._storage.columns import (
    fitted,
    joined,
    kinds_of,
    plain,
    read_parquet,
    typed,
    with_numbers,
)
from dml.errors import ArrayError

BIG = 2**53 + 1


def values(column):
    return [plain(value) for value in column.array]


@pytest.mark.parametrize(
    "column, kind, kept",
    [
        (pa.array([BIG, None, 3]), int, [BIG, None, 3]),
        (pa.array([1, None, 3], pa.int8()), int, [1, None, 3]),
        (pa.array([1, None, 3], pa.uint64()), int, [1, None, 3]),
        (pa.nulls(3, pa.uint64()), int, [None, None, None]),
        (pa.array([True, None, False]), bool, [True, None, False]),
        (pa.array([0.5, None, float("nan")]), float, [0.5, None, None]),
        (pa.array(["a", None, ""]), str, ["a", None, ""]),
        (pa.array(["a", None, "b"]).dictionary_encode(), str, ["a", None, "b"]),
        (pa.nulls(3), str, [None, None, None]),
        (pa.array([decimal.Decimal("1.50"), None, decimal.Decimal(2)]), float, [1.5, None, 2.0]),
        (pa.array([datetime.date(2024, 1, 2), None, None]), str, ["2024-01-02", None, None]),
        (
            pa.array([datetime.datetime(2024, 1, 2, 3, 4, 5), None, None]),
            str,
            ["2024-01-02 03:04:05", None, None],
        ),
    ],
)
def test_types_survive_parquet_with_gaps(tmp_path, column, kind, kept):
    parquet.write_table(pa.table({"x": column}), tmp_path / "a.parquet")
    table = typed(read_parquet(tmp_path / "a.parquet"))
    assert kinds_of(table) == {"x": kind} and values(table["x"]) == kept
    assert [type(value) for value in values(table["x"]) if value is not None] == [
        kind for value in kept if value is not None
    ]
    table.to_parquet(tmp_path / "b.parquet")
    pd.testing.assert_frame_equal(typed(read_parquet(tmp_path / "b.parquet")), table)


@pytest.mark.parametrize(
    "labels, texts",
    [
        (pa.array([0, None, 2]), ["0", None, "2"]),
        ([0.0, float("nan"), 2.0], ["0", None, "2"]),
        ([0.5, 1, 2], ["0.5", "1", "2"]),
        ([1, "a", None], ["1", "a", None]),
        ([True, False, None], ["True", "False", None]),
        (["007", "7", "NA"], ["007", "7", "NA"]),
    ],
)
def test_labels_are_text(tmp_path, labels, texts):
    frame = pd.DataFrame({"label": labels})
    if isinstance(labels, pa.Array):
        parquet.write_table(pa.table({"label": labels}), tmp_path / "a.parquet")
        frame = read_parquet(tmp_path / "a.parquet")
    assert values(typed(frame)["label"]) == texts


@pytest.mark.parametrize(
    "cells, kind, kept",
    [
        (["1", None, "-20"], int, [1, None, -20]),
        (["1", "2.5", "1e-05"], float, [1.0, 2.5, 1e-05]),
        ([str(BIG), "1", "2"], int, [BIG, 1, 2]),
        (["007", "1", "2"], str, ["007", "1", "2"]),
        (["1", "x", "2"], str, ["1", "x", "2"]),
        (["nan", "1", "2"], str, ["nan", "1", "2"]),
        (["inf", "1", "2"], str, ["inf", "1", "2"]),
        (["1e999", "1", "2"], str, ["1e999", "1", "2"]),
        (["9" * 20, "1", "2"], str, ["9" * 20, "1", "2"]),
        ([str(BIG), "0.5", "2"], str, [str(BIG), "0.5", "2"]),
        (["+1", "1", "2"], str, ["+1", "1", "2"]),
        (["1_0", "1", "2"], str, ["1_0", "1", "2"]),
        (["٣", "1", "2"], str, ["٣", "1", "2"]),
        ([None, None, None], str, [None, None, None]),
    ],
)
def test_cells_of_csv_are_numbers_if_all_are_written_so(cells, kind, kept):
    table = typed(with_numbers(pd.DataFrame({"x": pd.Series(cells, dtype="str")})))
    assert kinds_of(table) == {"x": kind} and values(table["x"]) == kept
    names = pd.DataFrame({"id": pd.Series(["1", "2"], dtype="str")}).assign(label="7")
    assert set(kinds_of(typed(with_numbers(names))).values()) == {str}


def test_tables_are_joined_by_the_type_that_holds_both():
    first = typed(pd.DataFrame({"a": [1, 2], "b": [1, BIG], "c": [True, None], "e": [None, None]}))
    second = typed(pd.DataFrame({"a": [0.5], "b": ["x"], "d": ["only here"], "e": [7]}))
    table = joined([("one", first), ("two", second)])
    assert {name: values(table[name]) for name in table} == {
        "a": [1.0, 2.0, 0.5],
        "b": ["1", str(BIG), "x"],
        "c": [True, None, None],
        "d": [None, None, "only here"],
        "e": [None, None, 7],
    }
    with pytest.raises(ValueError, match="'c' holds true or false in one and text in two"):
        joined([("one", first), ("two", typed(pd.DataFrame({"c": ["yes"]})))])
    with pytest.raises(ValueError, match="'a' of one holds numbers; got whole numbers"):
        joined([("one", typed(pd.DataFrame({"a": [BIG]}))), ("two", second)])


@pytest.mark.parametrize(
    "column, message",
    [
        ({"x": pd.to_timedelta([1])}, "column 'x' holds Timedelta"),
        ({"x": np.array([1j])}, "column 'x' holds complex"),
        ({"x": [-(2**63) - 1]}, "column 'x' holds integers of more than 64 bits"),
        ({"label": [["a"]]}, "column 'label' holds list"),
        ({3: [1]}, "a column has the name 3"),
        ({" ": [1]}, "a column has the name ' '"),
        ({"dml:removed": [True]}, "column 'dml:removed' has a name that results use"),
    ],
)
def test_what_is_no_column_is_named(column, message):
    with pytest.raises(ValueError, match=message):
        typed(pd.DataFrame(column))


def test_the_value_that_does_not_fit_is_named():
    table = typed(pd.DataFrame({"price": [1.0, None, 2.5, 3.5]}))
    with pytest.raises(ArrayError, match=r"'price' of shop holds whole .* numbers, such as 2\.5"):
        fitted(table, {"price": int}, "shop")
    table = typed(pd.DataFrame({"weight": [1, 2**53 + 1]}))
    with pytest.raises(ArrayError, match=r"got whole numbers, such as 9007199254740993"):
        fitted(table, {"weight": float}, "shop")
