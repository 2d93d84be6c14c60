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
    for damaged in (["cat", 3], 5, {"cat": 0}):
        pq.write_table(named(table, damaged), tmp_path / "a.parquet")
        with pytest.raises(DataError, match="the names of the classes of label are damaged"):
            Parquet(root=str(tmp_path)).items()


CLASSES = {"names": ["cat", "dog", "old"], "_type": "ClassLabel"}
SEVERAL = {"protocol": "seen-class", "validation": "images", "label_separator": "|", **ALL}


@pytest.mark.parametrize("suffix", ["parquet", "arrow"])
@pytest.mark.parametrize(
    "feature",  # as three versions of `datasets` write it
    [[CLASSES], {"feature": CLASSES, "_type": "Sequence"}, {"feature": CLASSES, "_type": "List"}],
)
def test_a_list_holds_several_labels(tmp_path, feature, suffix):
    table = pa.table({"image": IMAGES, "label": [[2, 0], [1], [0, 2], [0, 1, 0]]})
    features = {"label": feature, "image": {"_type": "Image"}}
    written = json.dumps({"info": {"features": features}})
    table = table.replace_schema_metadata({"huggingface": written})
    if suffix == "parquet":
        pq.write_table(table, tmp_path / "a.parquet")
    else:
        with pa.ipc.new_stream(tmp_path / "a.arrow", table.schema) as file:
            file.write_table(table)
    items = Parquet(root=str(tmp_path / f"a.{suffix}"), **SEVERAL).items()
    names = [items.class_names[code] for code in items.labels]
    assert names == ["cat|old", "dog", "cat|old", "cat|dog"]


@pytest.mark.parametrize(
    "labels", [[["a", " b"], ["c"]] * 2, [["a", "b"], ["b", "a"], ["c"], ["c"]]]
)
def test_a_list_may_hold_text(tmp_path, labels):
    pq.write_table(pa.table({"image": IMAGES, "label": labels}), tmp_path / "a.parquet")
    items = Parquet(root=str(tmp_path), **SEVERAL).items()
    assert items.class_names == ("a|b", "c")


@pytest.mark.parametrize(
    "labels, options, message",
    [
        ([["a"], ["b"]] * 2, ALL, "label holds lists: .* set --dataset.label_separator"),
        (
            [["a"], ["b|c"]] * 2,
            SEVERAL,
            r"row 1 has labels that .* '\|' does not tell apart, \['b\|c'\]",
        ),
        ([["a"], []] * 2, SEVERAL, "row 1 has no label"),
        ([["a"], None] * 2, SEVERAL, "row 1 has no label"),
        ([["a"], ["b", " "]] * 2, SEVERAL, "row 1 has an empty label"),
        ([["a"], ["b", None]] * 2, SEVERAL, "row 1 has an empty label"),
        ([[0.5], [1.0]] * 2, SEVERAL, "must be text or integers; row 0 has 0.5"),
        ([[["a"]], [["b"]]] * 2, SEVERAL, "'label' holds list<"),
        ([{"x": "a"}] * 4, SEVERAL, "'label' holds struct<"),
    ],
)
def test_lists_that_are_no_labels(tmp_path, labels, options, message):
    pq.write_table(pa.table({"image": IMAGES, "label": labels}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match=message):
        Parquet(root=str(tmp_path), **options).items()


def test_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([IMAGES, [1, 0, 1, 0], [0, 0, 1, 1]], ["image", "label", "label"])
    pq.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"a\.parquet: two columns have the name 'label': rename"):
        Parquet(root=str(tmp_path), **ALL).items()


def test_an_image_as_the_label_is_not_printed_whole(tmp_path):
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": IMAGES, "label": [1, 0, 1, 0]}), path)
    with pytest.raises(DataError, match="image must be text or integers; row 0 has b'") as error:
        Parquet(root=str(path), label="image", **ALL).items()
    assert len(str(error.value)) < len(str(path)) + 120


def test_lists_that_unpack_to_too_much_are_refused(tmp_path, monkeypatch):
    table = pa.table({"image": IMAGES, "label": [["x" * 1000] * 100] * 4})
    pq.write_table(table, tmp_path / "a.parquet")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    monkeypatch.setattr("dml.datasets._frames._MOST_BYTES", 400_000)
    with pytest.raises(DataError, match="it unpacks to more than"):
        Parquet(root=str(tmp_path), **SEVERAL).items()


@pytest.mark.parametrize("written", [b"{", b"[]", b'{"info": 3}', b"[" * 10**5])
def test_other_metadata_are_ignored(tmp_path, written):
    table = pa.table({"image": IMAGES, "label": [1, 0, 1, 0]})
    pq.write_table(table.replace_schema_metadata({"huggingface": written}), tmp_path / "a.parquet")
    assert Parquet(root=str(tmp_path), **ALL).items().class_names == (0, 1)
