"""Tables are read as they are written: CSV as text, Parquet with its types."""

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.datasets._frames import read_frame
from dml.errors import DataError


def test_a_csv_is_text(tmp_path):
    (tmp_path / "a.csv").write_text("path, label ,n\na.jpg,01,NA\nb.jpg, 2,\n")
    frame = read_frame(tmp_path / "a.csv")
    assert list(frame.columns) == ["path", "label", "n"]
    assert frame["label"].tolist() == ["01", "2"]
    assert frame["n"].tolist()[0] == "NA" and frame["n"].isna().tolist() == [False, True]


def test_a_parquet_keeps_types_and_only_the_columns_that_are_asked_for(tmp_path):
    table = pd.DataFrame({"path": ["a.jpg"], "label": [1], "price": [2.5]})
    table.to_parquet(tmp_path / "a.parquet")
    assert read_frame(tmp_path / "a.parquet")["label"].tolist() == [1]
    some = read_frame(tmp_path / "a.parquet", ("path", "label", "split"))
    assert list(some.columns) == ["path", "label"]


def test_columns_of_one_name_in_a_parquet_are_refused(tmp_path):
    table = pa.table([["a.jpg"], ["x"], ["y"]], ["path", "label", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match="two columns have the name 'label': rename one"):
        read_frame(tmp_path / "a.parquet")


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.txt", b"path\n", r"expected a \.csv or \.parquet file"),
        ("a.csv", b"path,label\n", "no rows"),
        ("a.csv", b"path,path\na,b\n", "two columns have the name 'path'"),
        ("a.csv", b"path,label\na,b,c,d\n", "more fields"),
        ("a.csv", b"path\n\xff\n", "line 2 is not UTF-8"),
        ("a.csv", b"path;label\na;b, c\n", "columns are separated by semicolons: save it with"),
        ("a.csv", b"path\tlabel\na\tb\n", "columns are separated by tabs: save it with commas"),
        ("a.csv", b"path,label\na,b\nc,d,e\n", "line 3 has 3 fields, and the lines before it 2"),
        ("a.csv", b"", "the file is empty"),
        ("a.parquet", b"PAR1", "can't be read as a table"),
    ],
)
def test_what_can_not_be_read_is_named(tmp_path, name, data, reason):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=reason):
        read_frame(tmp_path / name)
    with pytest.raises(DataError, match="not a regular file"):
        read_frame(tmp_path / f"missing-{name}".replace(".txt", ".csv"))
