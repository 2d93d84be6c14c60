"""Images named on the command line become one table."""

import io
import json
import tarfile

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dml.encoding._sources import image_table
from dml.errors import DataError
from dml.images import read_image
from dml.images._files import LeftOut
from tests.bundles import write_images
from tests.datasets.layouts import png, write_parquet, write_tar
from tests.storage.test_cells import write_arrow


@pytest.fixture
def photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", classes=2, each=2)
    return tmp_path / "photos"


def test_a_folder_names_labels_by_the_first_folder_below(photos):
    (photos / ".hidden.png").write_bytes(b"")
    (photos / "notes.txt").write_text("no image")
    (photos / "class 0" / "1.png").rename(photos / "loose.png")
    table = image_table(["photos"], LeftOut())
    assert table["id"].tolist() == [
        "photos/class 0/0.png",
        "photos/class 1/0.png",
        "photos/class 1/1.png",
        "photos/loose.png",
    ]
    assert table["label"].tolist() == ["class 0", "class 1", "class 1", None]
    assert table["path"][0] == str(photos / "class 0" / "0.png")


def test_patterns_files_and_several_sources(photos):
    table = image_table(["photos/*/0.png", "photos/class 1/1.png"], LeftOut())
    assert len(table) == 3 and table["label"].isna().all()


def test_a_list_keeps_ids_labels_and_own_fields(photos):
    frame = pd.DataFrame({"path": ["class 0/0.png", "class 1/0.png"], "price": [3, 4]})
    frame.assign(label=["a", None], id=["x", "y"]).to_parquet(photos / "list.parquet")
    table = image_table([photos / "list.parquet"], LeftOut())
    assert table.to_dict("list") == {
        "id": ["x", "y"],
        "path": [str(photos / "class 0/0.png"), str(photos / "class 1/0.png")],
        "label": ["a", None],
        "price": [3, 4],
    }
    frame.to_csv(photos / "list.csv", index=False)
    table = image_table([photos / "list.csv"], LeftOut())
    assert table["id"].tolist() == ["class 0/0.png", "class 1/0.png"]


def test_spaces_around_the_paths_of_a_list_are_dropped(photos):
    (photos / "list.csv").write_text("path,price\nclass 0/0.png ,3\n class 1/0.png,4\n")
    table = image_table([photos / "list.csv"], LeftOut())
    assert table["path"].tolist() == [f"{photos}/class 0/0.png", f"{photos}/class 1/0.png"]


def test_a_list_names_parts_of_images(photos):
    (photos / "list.csv").write_text(
        "path,x0,y0,x1,y1,price\nclass 0/0.png,0,0,5,6,3\nclass 0/0.png,5,0,9,9,4\n"
    )
    table = image_table([photos / "list.csv"], LeftOut())
    assert table.to_dict("list") == {
        "id": ["crop:pixels=0,0,5,6:class 0/0.png", "crop:pixels=5,0,9,9:class 0/0.png"],
        "path": [
            f"crop:pixels=0,0,5,6:{photos}/class 0/0.png",
            f"crop:pixels=5,0,9,9:{photos}/class 0/0.png",
        ],
        "label": [None, None],
        "price": [3, 4],
    }
    assert read_image(table["path"][1]).shape == (9, 4, 3)


def test_a_shard_of_images_and_labels(photos):
    with tarfile.open("shard.tar", "w") as tar:
        tar.add(photos / "class 0" / "0.png", "000.png")
        for name, data in {"000.cls": b"7\n", "001.json": b"{}"}.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    table = image_table(["shard.tar"], LeftOut())
    assert table["id"].tolist() == ["shard.tar!000.png"] and table["label"].tolist() == ["7"]
    image = read_image(table["path"][0])
    assert (image == read_image(photos / "class 0" / "0.png")).all()


def test_names_in_a_shard_are_those_of_samples(photos):
    members = {
        "0.left.jpg": png(1),
        "0.right.jpg": png(2),
        "0.mask.png": png(3),
        "0.CLS": "cat",
        "0.left.cls": "left",
        "a.b/1.png": png(4),
        "a.b/1.cls": " dog\n",
        "2.PNG": png(5),
    }
    write_tar(photos / "S.TAR", members)
    left_out = LeftOut()
    table = image_table(["photos/S.TAR"], left_out)
    assert dict(zip(table["id"], table["label"], strict=True)) == {
        "photos/S.TAR!0.left.jpg": "left",
        "photos/S.TAR!0.right.jpg": "cat",
        "photos/S.TAR!a.b/1.png": "dog",
        "photos/S.TAR!2.PNG": None,
    }
    assert not left_out and read_image(table["path"][3]).shape == (20, 24, 3)


@pytest.mark.parametrize(
    "sources, error, message",
    [
        (["nowhere"], FileNotFoundError, "nowhere: no such file, folder or pattern"),
        (["*.jpg"], FileNotFoundError, "no images there"),
        (["photos", "photos/class 0/0.png"], ValueError, "occurs more than once"),
        (["broken.tar"], ValueError, "not an uncompressed tar"),
        (["list.csv"], ValueError, "no column 'path'"),
    ],
)
def test_says_what_is_wrong(photos, sources, error, message):
    (photos.parent / "broken.tar").write_bytes(b"x" * 2000)
    (photos.parent / "list.csv").write_text("file\na.png\n")
    with pytest.raises(error, match=message):
        image_table(sources, LeftOut())


def table_of(folder, *lists):
    for number, text in enumerate(lists):
        (folder / f"list{number}.csv").write_text(text)
    return image_table([folder / f"list{n}.csv" for n in range(len(lists))], LeftOut())


def test_numbers_in_a_csv_list_are_numbers(photos):
    table = table_of(
        photos,
        "path, label ,price, sku,\nclass 0/0.png, 7, 3, 007,\nclass 1/0.png,,4.5,12,\n",
    )
    assert table.to_dict("list") == {
        "id": ["class 0/0.png", "class 1/0.png"],
        "path": [str(photos / "class 0/0.png"), str(photos / "class 1/0.png")],
        "label": ["7", None],
        "price": [3.0, 4.5],
        "sku": ["007", "12"],
    }


def test_lists_of_unlike_columns_are_refused_by_name(photos):
    path = "class 0/0.png"
    with pytest.raises(ValueError, match=r"'ok' holds true or false in .*\.parquet and text in"):
        pd.DataFrame({"path": [path], "ok": [True]}).to_parquet(photos / "a.parquet")
        (photos / "b.csv").write_text("path,ok\nclass 1/0.png,yes\n")
        image_table([photos / "a.parquet", photos / "b.csv"], LeftOut())
    (photos / "c.csv").write_text("path,price\nclass 1/0.png,cheap\n")
    pd.DataFrame({"path": [path], "price": [1.5]}).to_parquet(photos / "d.parquet")
    with pytest.raises(ValueError, match=r"'price' holds text in .*c\.csv and numbers in .*d\.par"):
        image_table([photos / "c.csv", photos / "d.parquet"], LeftOut())


@pytest.mark.parametrize(
    "text, message",
    [
        ("path,label\nclass 0/0.png,a,b,c\n", "rows have more fields than the first line"),
        ("path,similarity\nclass 0/0.png,1\n", r"list0\.csv: column 'similarity' has a name that"),
        ("path,id\nclass 0/0.png,\n", r"list0\.csv: row 1 has no id"),
        ("path,label,label \nclass 0/0.png,a,b\n", "two columns have the name 'label'"),
        ("path, label,label\nclass 0/0.png,a,b\n", "two columns have the name 'label'"),
    ],
)
def test_lists_that_can_not_be_are_refused(photos, text, message):
    with pytest.raises(ValueError, match=message):
        table_of(photos, text)


@pytest.mark.parametrize("spelled", ["photos", "photos/", "./photos", "photos/../photos//"])
def test_ids_are_in_the_shortest_spelling(photos, spelled):
    for source in (spelled, f"{spelled}/class */0.png", f"{spelled}/class 0/0.png"):
        assert image_table([source], LeftOut())["id"][0] == "photos/class 0/0.png"


def test_a_file_is_named_once_unless_a_list_gives_it_ids(photos):
    with pytest.raises(ValueError, match=r"'photos/class 0/0\.png' and '/.*' are the same"):
        image_table(["photos", photos / "class 0" / "0.png"], LeftOut())
    assert len(table_of(photos, "path,id\nclass 0/0.png,a\nclass 0/0.png,b\n")) == 2


def test_labels_in_lists_are_one_text(photos):
    cells = [["red", "hat"], ["hat", " red", "hat"], [None, "hat"], ["a|b"], [], None]
    write_parquet(photos / "a.parquet", [png(n) for n in range(6)], label=cells)
    labels = image_table(["photos/a.parquet"], LeftOut())["label"].tolist()
    assert labels == ["hat|red", "hat|red", "hat", "a|b", None, None]


@pytest.mark.parametrize("labels", [[0.5, 1.0], [{"x": 1}, {"x": 2}], [[0.5], [1.0]], [b"x", b"y"]])
def test_a_column_of_another_type_holds_no_labels(photos, labels):
    cells = [{"bytes": png(n)} for n in range(2)]
    pq.write_table(pa.table({"image": cells, "label": labels}), photos / "a.parquet")
    if labels[0] == b"x":
        with pytest.raises(DataError, match="label may be images: write a file with only one of"):
            image_table(["photos/a.parquet"], LeftOut())
        return
    left_out = LeftOut()
    assert image_table(["photos/a.parquet"], left_out)["label"].tolist() == [None, None]
    assert left_out == {"labels of another type": 2}


def test_a_hidden_class_is_no_label(photos):
    feature = {"names": ["cat", "dog"], "_type": "ClassLabel"}
    table = pa.table({"image": [png(n) for n in range(3)], "label": [1, -1, 0]})
    about = {"huggingface": json.dumps({"info": {"features": {"label": feature}}})}
    pq.write_table(table.replace_schema_metadata(about), photos / "a.parquet")
    labels = image_table(["photos/a.parquet"], LeftOut())["label"].tolist()
    assert labels == ["dog", None, "cat"]


@pytest.mark.parametrize("suffix", ["PARQUET", "Arrow"])
def test_suffixes_of_cells_in_any_case(photos, suffix):
    path = write_parquet(photos / "a.parquet", [png(0), png(1)], label=["x", "y"])
    if suffix == "Arrow":
        write_arrow(path, pq.read_table(path))
    path.rename(photos / f"A.{suffix}")
    table = image_table([f"photos/A.{suffix}"], LeftOut())
    assert table["label"].tolist() == ["x", "y"]
    assert [read_image(path).shape for path in table["path"]] == [(20, 24, 3)] * 2
    (photos / "list.csv").write_text(f"path\nA.{suffix}!image!1\n")
    assert len(image_table([photos / "list.csv"], LeftOut())) == 1


def test_boxes_of_images_in_cells_are_cut(photos):
    box = {"x0": [0, 1], "y0": [0, 2], "x1": [5, 9], "y1": [6, 20]}
    write_parquet(photos / "a.parquet", [png(1), png(2)], **box)
    table = image_table(["photos/a.parquet"], LeftOut())
    assert table["id"].tolist() == [f"photos/a.parquet!image!{row}" for row in range(2)]
    assert table["path"].tolist() == [
        f"crop:pixels=0,0,5,6:{photos}/a.parquet!image!0",
        f"crop:pixels=1,2,9,20:{photos}/a.parquet!image!1",
    ]
    assert table["label"].isna().all()


def test_images_in_cells_and_their_labels(photos):
    images = [png(0), png(1)]
    write_parquet(photos / "a.parquet", images, label=["x", None])
    write_parquet(photos / "b.parquet", images, price=[1, 2])
    table = image_table(["photos/a.parquet"], LeftOut())
    assert table["id"].tolist() == ["photos/a.parquet!image!0", "photos/a.parquet!image!1"]
    assert table["path"].tolist() == [f"{photos}/a.parquet!image!{row}" for row in range(2)]
    assert table["label"].tolist() == ["x", None]
    assert image_table(["photos/b.parquet"], LeftOut())["label"].isna().all()
    assert read_image(table["path"][1]).shape == (20, 24, 3)


def test_images_at_urls(photos):
    (photos / "list.csv").write_text(
        f"path,label\ns3://b/a.jpg?versionId=1,x\nclass 0/0.png,y\nfile://{photos}/x.png,z\n"
    )
    table = image_table([photos / "list.csv", "memory://b/c.png"], LeftOut())
    assert table["path"].tolist() == [
        "s3://b/a.jpg?versionId=1",
        f"{photos}/class 0/0.png",
        f"{photos}/x.png",
        "memory://b/c.png",
    ]
    assert table["id"][3] == "memory://b/c.png"
