"""Tests specific to Parquet and Arrow files with the bytes of images."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.datasets import Parquet
from dml.errors import DataError
from dml.images import ImageRef
from tests.datasets.layouts import png, write_parquet

ALL = {"test_fraction": 0.0, "validation_fraction": 0.0}
IMAGES = [png(i) for i in range(4)]


def test_images_labels_and_ids(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", IMAGES, label=["x", "x", "y", "y"])
    items = Parquet(root=str(path), **ALL).items()
    assert items.ids.tolist() == [f"a.parquet!{row}" for row in range(4)]
    assert items.paths.tolist() == [f"{path}!image!{row}" for row in range(4)]
    assert items.class_names == ("x", "y") and items.labels.tolist() == [0, 0, 1, 1]
    assert [ImageRef.parse(path).read_bytes() for path in items.paths] == IMAGES


def test_splits_from_files_and_from_a_column(tmp_path):
    for name in ("train-00000-of-00001", "test-00000-of-00001"):
        write_parquet(tmp_path / f"data/{name}.parquet", IMAGES, label=[0, 0, 1, 1])
    items = Parquet(root=str(tmp_path), validation_fraction=0.0).items()
    assert items.splits.tolist() == ["test"] * 4 + ["train"] * 4  # in the order of their names
    assert items.protocol == "seen-class"
    where = ["train", "val", "test", "query"]
    write_parquet(tmp_path / "b.parquet", IMAGES, label=[0, 0, 1, 1], where=where)
    part = Parquet(root=str(tmp_path / "b.parquet"), split="where")
    assert part.items().splits.tolist() == where


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"image": IMAGES}, {}, "no column 'label'; it has image"),
        ({"label": [1, 2, 3, 4]}, {}, "no column of the bytes of images; it has label"),
        ({"a": IMAGES, "b": IMAGES}, {}, "the columns a and b may be images: choose one by --da"),
        ({"a": IMAGES}, {"image": "b"}, "no column 'b' of the bytes of images; it has a"),
        ({"a": IMAGES, "label": [1, None, 1, 1]}, {}, "row 1 has no label"),
        ({"a": IMAGES, "label": [1, 1, 0.5, 1]}, {}, "must be text or integers; row 0 has 1.0"),
        ({"a": IMAGES, "label": [[1], [1], [2], [2]]}, {}, "column 'label' holds list"),
        ({"a": IMAGES, "label": [1] * 4, "s": ["x"] * 4}, {"split": "s"}, "0: split must be one"),
    ],
)
def test_says_what_is_wrong(tmp_path, columns, options, message):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message) as error:
        Parquet(root=str(tmp_path / "t.parquet"), **options).items()
    assert "t.parquet: " in str(error.value) and "\n" not in str(error.value)
