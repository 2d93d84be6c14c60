"""The columns that hold images and classes, and the names that `datasets` gives the classes."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.datasets import Parquet
from dml.errors import DataError
from tests.datasets.layouts import png

ALL = {"test_fraction": 0.0, "validation_fraction": 0.0}
IMAGES = [png(i) for i in range(4)]


def named(table, names, kind="ClassLabel"):
    """Returns a table with the names of classes in its schema, as `datasets` writes them."""
    features = {"label": {"names": names, "_type": kind}, "image": {"_type": "Image"}}
    return table.replace_schema_metadata(
        {"huggingface": json.dumps({"info": {"features": features}})}
    )


def test_classes_have_their_names(tmp_path):
    table = named(pa.table({"image": IMAGES, "label": [1, 0, 1, 0]}), ["cat", "dog"])
    pq.write_table(table, tmp_path / "a.parquet")
    items = Parquet(root=str(tmp_path), **ALL).items()
    assert [items.class_names[code] for code in items.labels] == ["dog", "cat", "dog", "cat"]
    pq.write_table(named(table, ["cat"]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: row 0 has the label 1 of 1"):
        Parquet(root=str(tmp_path)).items()
    pq.write_table(named(table, ["cat", 3]), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="the names of the classes of label are damaged"):
        Parquet(root=str(tmp_path)).items()


@pytest.mark.parametrize("written", [b"{", b"[]", b'{"info": 3}', b"[" * 10**5])
def test_other_metadata_are_ignored(tmp_path, written):
    table = pa.table({"image": IMAGES, "label": [1, 0, 1, 0]})
    pq.write_table(table.replace_schema_metadata({"huggingface": written}), tmp_path / "a.parquet")
    assert Parquet(root=str(tmp_path), **ALL).items().class_names == (0, 1)
