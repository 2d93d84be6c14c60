"""Tests specific to a table of images."""

import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.datasets import DATASETS
from dml.errors import DataError
from dml.images import read_image
from tests.datasets.layouts import table, write_image

Table = DATASETS["table"]


def write(root, rows, suffix="csv"):
    for name in {row[0] for row in rows}:
        write_image(root / name)
    frame = pd.DataFrame(rows, columns=["path", "label", "split"][: len(rows[0])])
    path = root / f"table.{suffix}"
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    return str(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_splits_of_ones_own(tmp_path, suffix):
    rows = [("a.jpg", "x", "train"), ("b.jpg", "y", "val"), ("c.jpg", "z", "test")]
    items = Table(root=write(tmp_path, rows, suffix)).items()
    assert items.splits.tolist() == ["train", "val", "test"] and items.protocol == "zero-shot"


def test_splits_are_known_by_their_common_names(tmp_path):
    rows = [("a.jpg", "x", "Training"), ("b.jpg", "y", "dev"), ("c.jpg", "z", "TEST")]
    assert Table(root=write(tmp_path, rows)).items().splits.tolist() == ["train", "val", "test"]
    rows = [("a.jpg", "x", "train"), ("b.jpg", "y", "Validation")]
    items = Table(root=write(tmp_path, rows)).items()
    assert items.splits.tolist() == ["train", "test"]
    assert items.notes[0].startswith("val is used as the test split")


def test_two_classes_are_tested_by_other_images(tmp_path):
    rows = [(f"{i}.jpg", "xy"[i % 2]) for i in range(20)]
    path = write(tmp_path, rows)
    with pytest.raises(ValueError, match="2 classes are too few"):
        Table(root=path).items()
    items = Table(root=path, protocol="seen-class").items()
    assert items.protocol == "seen-class" and items.select("test").class_names == ("x", "y")


def test_a_list_leaves_out_what_is_no_image(tmp_path):
    rows = [("a.jpg", "x"), ("b.jpg", "y")]
    path = write(tmp_path, rows)
    with open(path, "a") as file:
        file.write("c.heic,x\nd.txt,y\n")
    items = Table(root=path, test_fraction=0.0).items()
    assert items.ids.tolist() == ["a.jpg", "b.jpg"]
    assert items.notes[0] == "left out: 1 .heic, 1 .txt"


def test_query_and_gallery_make_the_protocol(tmp_path):
    rows = [("a.jpg", 1, "train"), ("b.jpg", 2, "query"), ("c.jpg", 2, "gallery")]
    assert Table(root=write(tmp_path, rows)).items().protocol == "query-gallery"


@pytest.mark.parametrize(
    "labels",
    [
        (2**53, 2**53 + 1),  # the same float
        (-1, 2**64 - 1),  # in no common type of 64 bits
        ("01", "1"),
        ("NA", "null"),  # what pandas takes for missing
        ("1", "x"),
    ],
)
def test_labels_are_taken_as_they_are_written(tmp_path, labels):
    rows = [("a.jpg", labels[0]), ("b.jpg", labels[1])]
    options = {"test_fraction": 0.0, "validation_fraction": 0.0}
    assert Table(root=write(tmp_path, rows), **options).items().class_names == labels


def test_super_labels_are_read(tmp_path):
    for name in "abc":
        write_image(tmp_path / f"{name}.jpg")
    path = tmp_path / "t.csv"
    path.write_text("path,label,super_label\na.jpg,1,chair\nb.jpg,2,lamp\nc.jpg,2,lamp\n")
    assert Table(root=str(path), test_fraction=0.0).items().super_labels.tolist() == [0, 1, 1]
    path.write_text("path,label,super_label\na.jpg,1,chair\nb.jpg,2,\n")
    with pytest.raises(ValueError, match="row 2 has no super_label"):
        Table(root=str(path)).items()


def test_spaces_around_labels_are_dropped(tmp_path):
    rows = [("a.jpg", "x "), ("b.jpg", " x"), ("c.jpg", "y")]
    for suffix in ("csv", "parquet"):
        items = Table(root=write(tmp_path, rows, suffix), test_fraction=0.0).items()
        assert items.class_names == ("x", "y")


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_so_are_those_around_paths_and_other_names(tmp_path, suffix):
    path = write(tmp_path, [("a.jpg", "x"), ("b.jpg", "y")], suffix)
    frame = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    frame["path"] = ["a.jpg ", "b.jpg"]
    frame = frame.assign(mask=["a.jpg", "b.jpg  "], camera=["A", "A "], super_label=["s ", "s"])
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    items = Table(root=path, test_fraction=0.0, validation_fraction=0.0).items()
    a, b = (tmp_path / name for name in ("a.jpg", "b.jpg"))
    assert items.paths.tolist() == [f"mask:{a}:{a}", f"mask:{b}:{b}"]
    assert items.cameras.tolist() == ["A", "A"] and items.super_labels.tolist() == [0, 0]


def test_paths_of_digits_keep_their_zeros(tmp_path):
    write_image(tmp_path / "7.jpg").rename(tmp_path / "007")
    (tmp_path / "t.csv").write_text("path,label\n007,x\n")
    assert Table(root=str(tmp_path / "t.csv"), test_fraction=0.0).items().ids.tolist() == ["007"]


@pytest.mark.parametrize(
    "text, message",
    [
        ("image,label\na.jpg,1\n", "no column 'path'; it has image, label"),
        ("path,label\n0.jpg,\n", "row 1 has no label"),
        ("path,label,split\n0.jpg,1,trian\n", "row 1 has 'trian'"),
        ("path,label\n0.jpg,1\n1.jpg,1\n0.jpg,2\n", r"t\.csv: row 3 lists 0\.jpg a second time"),
        ("path,label\n0.jpg,1\n1.jpg,1\n./0.jpg,2\n", r"row 3 lists \./0\.jpg a second time"),
        ("path,label\na.heic,1\n0.jpg,1\nb/../0.jpg,2\n", r"row 3 lists b/\.\./0\.jpg a second"),
        ('path,label\n0.jpg,"  "\n', "row 1 has no label"),
        ("path,label,split\n0.jpg,1,train\n1.jpg,1,\n", "row 2 has no split"),
        ("path,label,split\n0.jpg,1,query\n", "lists the split query without gallery"),
        ("path,label\n0.jpg,1\n", r"image missing; listed in .*t\.csv: paths are relative"),
        ("path,label\n", "no rows"),
        ("", "can't be read as a table"),
        ("path,label\na.jpg,caf\udce9\n", "line 2 is not UTF-8 text: save it as UTF-8"),
    ],
)
def test_says_what_is_wrong(tmp_path, text, message):
    path = tmp_path / "t.csv"
    path.write_text(text, errors="surrogateescape")
    with pytest.raises(ValueError, match=message):
        Table(root=str(path)).items()


def test_refuses_other_files(tmp_path):
    with pytest.raises(ValueError, match=r"expected a \.csv or \.parquet"):
        Table(root=str(table(tmp_path).rename(tmp_path / "t.xlsx"))).items()


@pytest.mark.parametrize("as_category", [False, True])
def test_a_small_file_that_says_a_long_text_a_million_times_is_refused(tmp_path, as_category):
    column = pa.DictionaryArray.from_arrays(np.zeros(10**6, "int32"), ["x" * 10**5])
    table = pa.table({"path": column, "label": np.zeros(10**6, "int8")})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path, store_schema=as_category)
    assert path.stat().st_size < 10**5
    with pytest.raises(ValueError, match="it unpacks to more than 4 GiB"):
        Table(root=str(path)).items()


def test_so_is_one_of_a_billion_numbers(tmp_path, monkeypatch):
    monkeypatch.setattr("dml.datasets._frames._MOST_BYTES", 10**6)
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"path": np.zeros(10**6), "label": np.zeros(10**6)}), path)
    with pytest.raises(ValueError, match="it unpacks to more than"):
        Table(root=str(path)).items()


def test_columns_of_no_use_are_not_read(tmp_path):
    rows = [("a.jpg", "x"), ("b.jpg", "y")]
    path = write(tmp_path, rows, "parquet")
    pd.read_parquet(path).assign(boxes=[[1, 2], [3]]).to_parquet(path)
    items = Table(root=path, test_fraction=0.0).items()
    assert len(items) == 2 and items.notes[0] == "columns not read: boxes"
    pd.read_parquet(path).rename(columns={"path": "image"}).to_parquet(path)
    with pytest.raises(ValueError, match="no column 'path'; it has image, label, boxes"):
        Table(root=path).items()


def test_members_of_archives_are_images(tmp_path):
    write_image(tmp_path / "a.png", 1)
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        archive.write(write_image(tmp_path / "b.png", 2), "in/b.png")
    (tmp_path / "list.csv").write_text("path,label\na.png,x\nmore.zip!in/b.png,y\n")
    items = Table(root=str(tmp_path / "list.csv"), test_fraction=0).items()
    assert items.ids.tolist() == ["a.png", "more.zip!in/b.png"]
    assert items.paths.tolist() == [f"{tmp_path}/a.png", f"{tmp_path}/more.zip!in/b.png"]
    assert (read_image(items.paths[1]) == read_image(tmp_path / "b.png")).all()
    (tmp_path / "more.zip").unlink()
    with pytest.raises(FileNotFoundError, match=r"more\.zip: image missing"):
        Table(root=str(tmp_path / "list.csv")).items()


def test_members_may_have_no_suffix(tmp_path):
    data = write_image(tmp_path / "a.png", 1).read_bytes()
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as archive:
        for name in ("1", "in.v2/2", "3.heic"):
            archive.writestr(name, data)
    rows = "more.zip!1,x\nmore.zip!in.v2/2,y\nmore.zip!3.heic,y\n"
    (tmp_path / "list.csv").write_text(f"path,label\n{rows}")
    items = Table(root=str(tmp_path / "list.csv"), test_fraction=0).items()
    assert items.ids.tolist() == ["more.zip!1", "more.zip!in.v2/2"]
    assert items.notes[0] == "left out: 1 .heic"


def test_images_may_be_at_urls(tmp_path):
    for name in ("a.png", "b.png"):
        write_image(tmp_path / name, 1)
    text = f"path,label\na.png,x\nmemory://b/c.jpg,y\nfile://{tmp_path}/b.png,z\n"
    (tmp_path / "list.csv").write_text(text)
    items = Table(root=str(tmp_path / "list.csv"), test_fraction=0).items()
    a, b = f"{tmp_path}/a.png", f"{tmp_path}/b.png"
    assert items.paths.tolist() == [a, "memory://b/c.jpg", b]
    assert items.ids.tolist() == ["a.png", "memory://b/c.jpg", b]
    (tmp_path / "list.csv").write_text(text.replace("b.png", "a.png"))
    with pytest.raises(DataError, match=r"row 3 lists .*/a\.png a second time"):
        Table(root=str(tmp_path / "list.csv")).items()


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_cameras_and_sequences_may_be_empty(tmp_path, suffix):
    path = write(tmp_path, [("a.jpg", "x"), ("b.jpg", "y"), ("c.jpg", "y")], suffix)
    frame = pd.read_csv(path) if suffix == "csv" else pd.read_parquet(path)
    frame = frame.assign(camera=["01", None, "2"], sequence=[7, 7, 8])
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    items = Table(root=path, test_fraction=0.0).items()
    assert items.cameras.tolist() == ["01", None, "2"]
    assert items.sequences.tolist() == ["7", "7", "8"]
    frame = frame.assign(camera=pd.array([1, None, 2], dtype="Int64"))
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    items = Table(root=path, test_fraction=0.0).items()
    assert items.cameras.tolist()[1] is None and float(items.cameras[0]) == 1
    frame = frame.assign(mask=pd.array([True, None, False], dtype="boolean"))
    frame.to_csv(path, index=False) if suffix == "csv" else frame.to_parquet(path)
    with pytest.raises(DataError, match="row 2 has no mask"):
        Table(root=path, test_fraction=0.0).items()


SEVERAL = [("a.jpg", "red | cat"), ("b.jpg", "cat|cat"), ("c.jpg", "dog"), ("d.jpg", "dog|red")]


def test_a_cell_may_hold_several_labels(tmp_path):
    options = {"label_separator": "|", "test_fraction": 0.0, "validation_fraction": 0.0}
    items = Table(root=write(tmp_path, SEVERAL), **options).items()
    names = [items.class_names[code] for code in items.labels]
    assert names == ["cat|red", "cat", "dog", "dog|red"]
    assert items.label_names == ("cat", "dog", "red")
    assert items.label_counts().tolist() == [2, 2, 2]
    assert items.label_counts([0, 2]).tolist() == [1, 1, 1]
    assert items.alike(items.labels[[0, 0, 0]], items.labels[1:]).tolist() == [True, False, True]
    assert items.search_labels.tolist()[0] == {"cat", "red"}
    path = write(tmp_path, [("a.jpg", "red|"), ("b.jpg", "cat")])
    with pytest.raises(ValueError, match=r"t?able\.csv: row 1 has an empty label in 'red\|'"):
        Table(root=path, **options).items()


def test_images_with_several_labels_are_held_out_as_images(tmp_path):
    path = write(tmp_path, SEVERAL)
    with pytest.raises(ValueError, match=r"dataset\.protocol must be seen-class with a label_sep"):
        Table(root=path, label_separator="|").items()
    options = {"root": path, "label_separator": "|", "test_fraction": 0.0}
    with pytest.raises(ValueError, match=r"dataset\.validation must be images with a label_sep"):
        Table(**options).items()
    options = {"label_separator": "|", "protocol": "seen-class", "validation": "images"}
    options |= {"test_fraction": 0.5, "validation_fraction": 0.0}
    items = Table(root=path, **options).items()
    assert sorted(items.splits.tolist()) == ["test", "test", "train", "train"]


def test_listed_splits_that_share_a_label_are_of_seen_classes(tmp_path):
    rows = [(*row, "train" if n < 2 else "test") for n, row in enumerate(SEVERAL)]
    options = {"label_separator": "|", "validation_fraction": 0.0}
    assert Table(root=write(tmp_path, rows), **options).items().protocol == "seen-class"
    rows[3] = ("d.jpg", "dog", "test")
    assert Table(root=write(tmp_path, rows), **options).items().protocol == "zero-shot"
