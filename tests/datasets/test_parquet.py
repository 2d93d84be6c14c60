"""Tests specific to Parquet and Arrow files with the bytes of images."""

import json

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.datasets import Parquet, RecordedItems
from dml.errors import DataError, MissingDataError, OptionError
from dml.images import ImageRef, read_image
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
    where = ["train", "val", "test", "test"]
    write_parquet(tmp_path / "b.parquet", IMAGES, label=[0, 0, 1, 1], where=where)
    part = Parquet(root=str(tmp_path / "b.parquet"), split="where")
    assert part.items().splits.tolist() == where


def test_a_column_of_splits_is_found_and_other_columns_are_named(tmp_path):
    where = ["training", "train", "test", "test"]
    columns = {"label": [" x", "x ", "y", "y"], "price": [1, 2, 3, 4]}
    path = write_parquet(tmp_path / "b.parquet", IMAGES, split=where, **columns)
    items = Parquet(root=str(path), validation_fraction=0.0).items()
    assert items.splits.tolist() == ["train", "train", "test", "test"]
    assert items.class_names == ("x", "y")
    assert items.notes == ("columns not read: price",)
    path = write_parquet(tmp_path / "c.parquet", IMAGES, split=["a", "b", "a", "b"], **columns)
    items = Parquet(root=str(path), **ALL).items()
    assert set(items.splits) == {"train"}
    assert items.notes[0] == "columns not read: split, price"


def test_a_column_of_splits_that_names_some_names_all(tmp_path):
    columns = {"label": ["x", "x", "y", "y"]}
    for where, message in (
        (["train", None, "test", "test"], r"b\.parquet: 1: split must be one of .*; got ''"),
        (["train", "test", "old", "test"], "2: split must be one of .*; got 'old'"),
    ):
        path = write_parquet(tmp_path / "b.parquet", IMAGES, split=where, **columns)
        with pytest.raises(DataError, match=message):
            Parquet(root=str(path), **ALL).items()
    for other in ([None] * 4, [["train"]] * 4, [{"train": 1}] * 4):
        path = write_parquet(tmp_path / "c.parquet", IMAGES, split=other, **columns)
        items = Parquet(root=str(path), **ALL).items()
        assert items.notes[0] == "columns not read: split" and set(items.splits) == {"train"}


@pytest.mark.parametrize("option", ["", "split"])
def test_splits_may_be_numbers_of_names(tmp_path, option):
    feature = {"names": ["test", "train"], "_type": "ClassLabel"}
    about = {"huggingface": json.dumps({"info": {"features": {"split": feature}}})}
    table = pa.table({"image": IMAGES, "label": [0, 0, 1, 1], "split": [1, 1, 0, 0]})
    pq.write_table(table.replace_schema_metadata(about), tmp_path / "a.parquet")
    items = Parquet(root=str(tmp_path / "a.parquet"), split=option, **ALL).items()
    assert items.splits.tolist() == ["train", "train", "test", "test"]


BOX = {"x0": [0, 5, 0, 1], "y0": [0, 0, 2, 2], "x1": [5, 24, 9, 3], "y1": [6, 20, 20, 4]}
PIXELS = [cv2.imdecode(np.frombuffer(data, np.uint8), 1)[..., ::-1] for data in IMAGES]


def with_columns(tmp_path, **columns):
    """Returns the items of four images of two classes with further columns."""
    path = write_parquet(tmp_path / "a.parquet", IMAGES, label=["x", "x", "y", "y"], **columns)
    return Parquet(root=str(path), **ALL).items()


def test_boxes_cut_images_as_in_a_table(tmp_path):
    items = with_columns(tmp_path, **BOX)
    assert items.notes == ("boxes are in pixels",)
    assert items.ids.tolist() == [f"a.parquet!{row}" for row in range(4)]
    for path, whole, x0, y0, x1, y1 in zip(items.paths, PIXELS, *BOX.values(), strict=True):
        assert (read_image(path) == whole[y0:y1, x0:x1]).all()
    digests = RecordedItems.of(items).digests
    assert digests[0] != RecordedItems.of(with_columns(tmp_path)).digests[0]
    shares = with_columns(tmp_path, **{name: [n / 24 for n in BOX[name]] for name in BOX})
    assert "boxes are in shares" in shares.notes[0]


@pytest.mark.parametrize("as_paths", [True, False])
def test_a_mask_is_an_image_or_the_path_of_one(tmp_path, as_paths):
    mask = np.zeros((20, 24, 3), "uint8")
    mask[3:9, 4:10] = 255
    data = cv2.imencode(".png", mask)[1].tobytes()
    (tmp_path / "m.png").write_bytes(data)
    items = with_columns(tmp_path, mask=["m.png"] * 4 if as_paths else [data] * 4, **BOX)
    for path, whole, x0, y0, x1, y1 in zip(items.paths, PIXELS, *BOX.values(), strict=True):
        assert (read_image(path) == np.where(mask, whole, 255)[y0:y1, x0:x1]).all()
    plain = Parquet(root=str(tmp_path / "a.parquet"), image="image", **ALL).items()
    assert plain.paths.tolist() == items.paths.tolist()
    if as_paths:
        (tmp_path / "m.png").unlink()
        with pytest.raises(MissingDataError, match=r"m\.png: image missing"):
            plain = Parquet(root=str(tmp_path / "a.parquet"), **ALL).items()


def test_cameras_and_sequences(tmp_path):
    items = with_columns(tmp_path, camera=[1, 1, 2, None], sequence=["a", None, "b", "b"])
    assert items.cameras.tolist() == ["1", "1", "2", None]
    assert items.sequences.tolist() == ["a", None, "b", "b"]
    assert items.notes == ()
    lists = with_columns(tmp_path, sequence=[[1], [2], [3], [4]])
    assert lists.sequences is None and lists.cameras is None
    assert lists.notes == ("columns not read: sequence",)
    boxes = with_columns(tmp_path, x0=[[1]] * 4, y1=[[2]] * 4)  # of several objects each
    assert boxes.notes == ("columns not read: x0, y1",)


def test_a_cell_may_hold_several_labels(tmp_path):
    path = write_parquet(tmp_path / "a.parquet", IMAGES, label=["red|hat", "hat| red", "hat", "a"])
    options = {"protocol": "seen-class", "validation": "images", "label_separator": "|"}
    items = Parquet(root=str(path), **{**ALL, **options}).items()
    assert items.class_names == ("a", "hat", "hat|red") and items.labels.tolist() == [2, 2, 1, 0]
    assert items.label_sets == [{"a"}, {"hat"}, {"hat", "red"}]
    with pytest.raises(OptionError, match=r"dataset\.protocol must be seen-class"):
        Parquet(root=str(path), label_separator="|").items()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"x0": [0] * 4}, "no column 'y0': a box has the columns x0, y0, x1, y1"),
        ({**BOX, "x1": [5, None, 9, 3]}, r"a\.parquet!1 has no x1"),
        ({**BOX, "x1": ["5", "b", "9", "3"]}, r"a\.parquet!1: x1 is 'b', not a number"),
        ({**BOX, "x1": [5, 4, 9, 3]}, r"a\.parquet!1: the box 5, 0, 4, 20 .*is empty"),
        ({**BOX, "y1": [[6]] * 4}, "column 'y1' of a box must hold numbers: it holds list<"),
        ({"mask": [1, 2, 3, 4]}, "row 0: a mask is the path of an image; got 1"),
    ],
)
def test_columns_that_are_wrong(tmp_path, columns, message):
    with pytest.raises(DataError, match=message):
        with_columns(tmp_path, **columns)


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"image": IMAGES}, {}, "no column 'label'; it has image"),
        ({"label": [1, 2, 3, 4]}, {}, "no column of the bytes of images; it has label"),
        ({"a": IMAGES, "b": IMAGES}, {}, "the columns a and b may be images: choose one by --da"),
        ({"a": IMAGES}, {"image": "b"}, "no column 'b' of the bytes of images; it has a"),
        ({"a": IMAGES, "label": [1, None, 1, 1]}, {}, "row 1 has no label"),
        ({"a": IMAGES, "label": [1, 1, 0.5, 1]}, {}, "must be text or integers; row 0 has 1.0"),
        ({"a": IMAGES, "label": [[1], [1], [2], [2]]}, {}, "set --dataset.label_separator"),
        ({"a": IMAGES, "label": ["x", " ", "x", "y"]}, {}, "row 1 has no label"),
        (
            {"a": IMAGES, "label": [1] * 4, "s": ["train", "test", "query", "query"]},
            {"split": "s"},
            "lists the split query without gallery",
        ),
        ({"a": IMAGES, "label": [1] * 4, "s": ["x"] * 4}, {"split": "s"}, "0: split must be one"),
    ],
)
def test_says_what_is_wrong(tmp_path, columns, options, message):
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    with pytest.raises(DataError, match=message) as error:
        Parquet(root=str(tmp_path / "t.parquet"), **options).items()
    assert "t.parquet: " in str(error.value) and "\n" not in str(error.value)
