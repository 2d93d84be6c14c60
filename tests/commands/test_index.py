"""`dml index` and `dml search`, as they are typed."""

import json
import os
import shutil

import pytest

from dml._storage.unfinished import measuring
from dml.cli import main
from dml.index import open_index
from tests.bundles import write_bundle, write_images


@pytest.fixture
def here(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    assert main(["index", "build", "bundle", "photos", "--out", "shop"]) == 0
    assert "shop: 12 items of 3 labels, 6 numbers each" in capsys.readouterr().out
    return tmp_path


def said(capsys):
    text = capsys.readouterr()
    return text.out + text.err


def test_adds_replaces_removes_and_verifies(here, capsys):
    write_images(here / "more", classes=1, each=2)
    assert main(["index", "add", "shop", "more", "photos"]) == 0
    assert "2 added, 12 replaced; 14 items in shop" in said(capsys)
    assert main(["index", "remove", "shop", "more/class 0/0.png"]) == 0
    assert "1 removed; 13 items" in said(capsys)
    assert main(["index", "remove", "shop", "--where", 'label == "class 1"']) == 0
    assert "4 removed; 9 items" in said(capsys)
    assert main(["index", "verify", "shop"]) == 0
    assert "undamaged; 9 items" in said(capsys)
    assert main(["index", "info", "shop", "--json"]) == 0
    assert json.loads(said(capsys))["items"] == 9
    assert main(["index", "info", "shop"]) == 0
    first, *others = said(capsys).splitlines()
    assert first.startswith("shop: 9 items of 2 labels, 6 numbers each")
    assert others == ["flat: every search is exact", "fields: id, path, label"]
    assert sorted(p.name for p in here.iterdir()) == ["bundle", "more", "photos", "shop"]


@pytest.mark.parametrize(
    "command, message",
    [
        (["index", "build", "bundle", "photos", "--out", "shop"], "shop: already exists"),
        (["index", "build", "photos", "photos", "--out", "x"], "photos: not a bundle"),
        (["index", "build", "bundle", "photos", "--out", "x", "--recall", "2"], "recall must be"),
        (["index", "add", "shop", "nowhere"], "nowhere: no such file"),
        (["index", "remove", "shop"], "ID or --where must be given"),
        (["index", "remove", "shop", "photos/class 0/9.png"], "did you mean"),
        (["index", "remove", "shop", "--where", "label == 'x'"], "no item matches"),
        (["index", "info", "photos"], "photos: not an index"),
        (["search", "shop", "nowhere.png"], "nowhere.png: no such file"),
        (["search", "shop", "photos/class 0/0.png", "-k", "0"], "k must be at least 1"),
        (["search", "shop", "photos/class 0/0.png", "--threshold", "x"], "threshold must be"),
        (["search", "shop", "photos/class 0/0.png", "--where", "a == 1"], "no field 'a'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(here, capsys, command, message):
    assert main(command) == 2
    text = capsys.readouterr()
    assert message in text.err and text.err.count("\n") == 1 and not text.out
    assert main(["index", "verify", "shop"]) == 0


@pytest.fixture(params=["shop", "shop.db"])
def shop(request, here):
    """An index of `photos` in a folder, and in Milvus."""
    if request.param == "shop.db":
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
        assert main(["index", "build", "bundle", "photos", "--out", "shop.db"]) == 0
    return request.param


@pytest.mark.slow
@pytest.mark.parametrize(
    "sources, into",
    [
        (["photos/class 1"], "."),
        (["./photos/class 1/"], "."),
        (["photos/class 1/*.png"], "."),
        (["{here}/photos/class 1"], "."),
        (["class 1"], "photos"),
        (["."], "photos/class 1"),
        (["photos"], "."),
        (["list.csv"], "."),
    ],
)
def test_a_class_folder_is_added_to_its_class_and_no_image_twice(
    shop, here, capsys, monkeypatch, sources, into
):
    shutil.copy(here / "photos/class 2/3.png", here / "photos/class 1/new.png")
    images = sorted((here / "photos/class 1").iterdir())
    rows = "".join(f"{image.relative_to(here)}\n" for image in images)
    (here / "list.csv").write_text("path\n" + rows)
    monkeypatch.chdir(here / into)
    sources = [source.format(here=here) for source in sources]
    assert main(["index", "add", str(here / shop), *sources, "--bundle", str(here / "bundle")]) == 0
    assert "1 added, " in said(capsys)
    items, total = open_index(here / shop).page(limit=100)
    assert total == 13 and len({item["path"] for item in items}) == 13
    for item in items:
        assert item["label"] == item["path"].split("/")[-2]


def test_a_folder_that_is_no_class_has_no_label(here, capsys):
    write_images(here / "loose", classes=1, each=1)
    (here / "loose" / "class 0" / "0.png").rename(here / "loose" / "0.png")
    assert main(["index", "add", "shop", "loose"]) == 0
    assert open_index("shop").item("loose/0.png")["label"] is None


def test_a_lists_own_ids_are_kept(here):
    (here / "list.csv").write_text("path,id,label\nphotos/class 0/0.png,sku 7,cup\n")
    assert main(["index", "add", "shop", "list.csv"]) == 0
    index = open_index("shop")
    assert len(index) == 13 and index.item("sku 7")["label"] == "cup"
    assert index.item("photos/class 0/0.png")["label"] == "class 0"


@pytest.mark.parametrize("out", ["new/", "new//", "./new", "below/new/", "new.db/"])
def test_out_may_end_in_a_slash(here, capsys, out):
    if ".db" in out:
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    before = {path.name for path in here.iterdir()}
    assert main(["index", "build", "bundle", "photos", "--out", out]) == 0
    assert len(open_index(out)) == 12
    assert main(["index", "add", out, "photos", "--bundle", "bundle"]) == 0
    assert "0 added, 12 replaced" in said(capsys)
    assert len({path.name for path in here.iterdir()} - before) == 1


@pytest.mark.parametrize("out", ["photos", "photos/class 0/0.png", "dangling", "nowhere/../shop"])
def test_an_occupied_path_is_reported_before_an_image_is_read(here, monkeypatch, capsys, out):
    (here / "dangling").symlink_to("gone")
    monkeypatch.setattr("dml.index._images.embed_sources", lambda *_, **__: pytest.fail("reads"))
    (here / "nowhere").mkdir()
    assert main(["index", "build", "bundle", "photos", "--out", out]) == 2
    assert "already exists" in said(capsys)


def test_columns_are_refused_before_an_image_is_read(here, monkeypatch, capsys):
    monkeypatch.setattr("dml.encoding._engines.embed_images", lambda *_, **__: pytest.fail("reads"))
    (here / "list.csv").write_text("path,two words,price\nphotos/class 0/0.png,1,2\n")
    assert main(["index", "build", "bundle", "list.csv", "--out", "x", "--recall", "2"]) == 2
    assert "recall must be" in said(capsys)
    assert main(["index", "build", "bundle", "list.csv", "--out", "x", "--kind", "ivf_pq"]) == 2
    assert "ivf_pq needs at least 1,024 images; got 1" in said(capsys)
    assert sorted(p.name for p in here.iterdir()) == ["bundle", "list.csv", "photos", "shop"]


def test_two_additions_at_once_are_refused_before_an_image_is_read(here, monkeypatch, capsys):
    def reads(*arguments, **options):
        raise AssertionError("an image was read")

    monkeypatch.setattr("dml.encoding._engines.embed_images", reads)
    with open_index("shop").changing():
        assert main(["index", "add", "shop", "photos"]) == 2
        assert f"shop: process {os.getpid()} on" in said(capsys)
    with measuring("other.unfinished"):
        assert main(["index", "build", "bundle", "photos", "--out", "other"]) == 2
        assert f"other.unfinished: process {os.getpid()} on" in said(capsys)
    assert main(["index", "verify", "shop"]) == 0


def test_unreadable_images_are_listed(here, capsys):
    (here / "photos" / "bad.png").write_bytes(b"x")
    assert main(["index", "build", "bundle", "photos", "--out", "other"]) == 0
    assert "left out as unreadable: 1 image, listed in" in said(capsys)
    assert "bad.png" in (here / "other.unreadable.csv").read_text()


def test_the_same_commands_over_milvus(tmp_path, monkeypatch, capsys):
    pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    assert main(["index", "build", "bundle", "photos", "--out", "shop.db"]) == 0
    assert "shop.db: 12 items, 6 numbers each" in said(capsys)
    assert main(["index", "build", "bundle", "photos", "--out", "shop.db"]) == 2
    assert "shop.db: already exists" in said(capsys)
    query = ["search", "shop.db", "photos/class 0/0.png", "-k", "3"]
    assert main(query) == 2
    assert "bundle is needed to search shop.db: Milvus keeps no encoder" in said(capsys)
    assert main([*query, "--bundle", "bundle", "--json", "--where", "label != 'class 1'"]) == 0
    near = json.loads(said(capsys))[0]["neighbours"]
    assert near[0]["id"] == "photos/class 0/0.png" and near[0]["same"]
    assert main(["index", "remove", "shop.db", "--where", "label == 'class 2'"]) == 0
    assert "4 removed; 8 items in shop.db" in said(capsys)
    assert main(["index", "add", "shop.db", "photos", "--bundle", "bundle"]) == 0
    assert "4 added, 8 replaced; 12 items in shop.db" in said(capsys)
    assert main(["index", "verify", "shop.db"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "photos", "shop.db"]


def test_an_id_may_begin_with_dashes(here, capsys):
    (here / "list.csv").write_text("path,id\nphotos/class 0/0.png,--a.jpg\n")
    assert main(["index", "add", "shop", "list.csv"]) == 0
    assert main(["index", "remove", "shop", "--", "--a.jpg"]) == 0
    assert "1 removed; 12 items in shop" in said(capsys)
