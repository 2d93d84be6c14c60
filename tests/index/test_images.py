"""Images become an index, or more items of one."""

import pytest

from dml.encoding._collection import embed_to_file
from dml.errors import OccupiedError
from dml.index import add_images, index_images, open_index
from tests.bundles import write_bundle, write_images
from tests.reporters import Lines


def test_images_are_indexed_and_added(tmp_path):
    bundle, photos = write_bundle(tmp_path / "bundle"), write_images(tmp_path / "photos")
    (photos / "bad.png").write_bytes(b"x")
    reporter = Lines()
    index = index_images(bundle, [photos], tmp_path / "shop", reporter=reporter)
    assert len(index) == 12 and index.labels(10) == ["class 0", "class 1", "class 2"]
    first, second, third, _ = reporter
    assert first.startswith(f"{tmp_path}/shop: 12 items of 3 labels, 6 numbers each")
    assert second == "flat: every search is exact" and "left out as unreadable: 1 image" in third
    assert "bad.png" in (tmp_path / "shop.unreadable.csv").read_text()
    query = index.vector(f"{photos}/class 1/2.png")[None]
    (near,) = index.search(query, 3, 'label == "class 1"')
    assert f"{photos}/class 1/2.png" in {neighbour.item["path"] for neighbour in near}
    assert near[0].similarity == pytest.approx(1, abs=1e-5)

    more = write_images(tmp_path / "more", classes=1, each=2)
    assert add_images(index, [more, photos / "class 0"]) == (2, 4)
    assert len(index) == len(open_index(tmp_path / "shop")) == 14
    assert (
        index.remove(["none of these"][:0]) == 0 and index.remove(where='label == "class 2"') == 4
    )
    with pytest.raises(ValueError, match="no item matches"):
        index.remove(where='label == "class 2"')
    with pytest.raises(OccupiedError):
        index_images(bundle, [photos], tmp_path / "shop")
    assert not (tmp_path / "shop.unreadable.csv").exists()


def test_vectors_of_images_in_the_index_replace_their_items(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", classes=2, each=2)
    index = index_images(write_bundle(tmp_path / "bundle"), [tmp_path / "photos"], "shop")
    write_images(tmp_path / "photos/new", classes=1, each=1)
    embed_to_file("bundle", ["photos"], "vectors.parquet")
    assert add_images(index, ["vectors.parquet"]) == (1, 4)
    ids = {f"{tmp_path}/photos/class {n // 2}/{n % 2}.png" for n in range(4)}
    assert {item["id"] for item in index.page()[0]} == {*ids, "photos/new/class 0/0.png"}
    (tmp_path / "list.csv").write_text("path,id\nphotos/class 0/0.png,mine\n")
    embed_to_file("bundle", ["list.csv"], "named.parquet")
    assert add_images(index, ["named.parquet"]) == (1, 0)  # by the id that the list gives
    assert index.item("mine")["label"] == "class 0"


@pytest.mark.parametrize("name", ["shop", "shop.db"])
def test_a_folder_names_no_item_that_has_a_label(name, tmp_path, monkeypatch):
    if name == "shop.db":
        pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "photos", classes=2, each=3)
    write_bundle(tmp_path / "bundle")
    place = "photos/class 0/{}.png".format
    (tmp_path / "first.csv").write_text(
        f"path,id,label\n{place(0)},a,class 1\n{place(1)},b,\nphotos/class 1/0.png,c,class 0\n"
    )
    index = index_images("bundle", ["first.csv"], name)
    (tmp_path / "prices.csv").write_text(
        f"path,id,label\n{place(0)},a,\n{place(1)},b,\n{place(2)},d,\n"
    )
    embed_to_file("bundle", ["prices.csv"], "prices.parquet")
    expected = {"a": "class 1", "b": "class 0", "c": "class 0", "d": "class 0"}
    for source in ("prices.csv", "prices.parquet", "photos/class 1"):
        add_images(index, [source], "bundle")
        assert {id: index.item(id)["label"] for id in expected} == expected


def test_the_info_of_an_index_is_reported(tmp_path):
    bundle, photos = write_bundle(tmp_path / "bundle"), write_images(tmp_path / "photos")
    index = index_images(bundle, [photos], tmp_path / "shop", kind="hnsw", recall=0.9)
    info = index.info()
    first, second = str(info).splitlines()
    assert first.startswith("12 items of 3 labels, 6 numbers each, 0.0 MiB")
    assert second == "hnsw (ef_search 16): recall@10 1.000 measured, target 0.9"
    values = info.to_json()
    assert values["search_parameters"] == {"ef_search": 16} and values["removed"] == 0
    assert values["recall_at_10"] == 1 and values["recall_target"] == 0.9
