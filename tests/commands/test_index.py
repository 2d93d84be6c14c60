"""`dml index` and `dml search`, as they are typed."""

import json
import os

import pytest

from dml.cli import main
from dml.index import open_index
from dml.unfinished import measuring
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
    assert "whole; 9 items" in said(capsys)
    assert main(["index", "info", "shop", "--json"]) == 0
    assert json.loads(said(capsys))["items"] == 9
    assert sorted(p.name for p in here.iterdir()) == ["bundle", "more", "photos", "shop"]


@pytest.mark.parametrize(
    "command, message",
    [
        (["index", "build", "bundle", "photos", "--out", "shop"], "shop is there already"),
        (["index", "build", "photos", "photos", "--out", "x"], "photos is no bundle"),
        (["index", "build", "bundle", "photos", "--out", "x", "--recall", "2"], "recall must be"),
        (["index", "add", "shop", "nowhere"], "nowhere: no such file"),
        (["index", "remove", "shop"], "which items?"),
        (["index", "remove", "shop", "photos/class 0/9.png"], "did you mean"),
        (["index", "remove", "shop", "--where", "label == 'x'"], "no item matches"),
        (["index", "info", "photos"], "photos is no index"),
        (["search", "shop", "nowhere.png"], "nowhere.png: no such file"),
        (["search", "shop", "photos/class 0/0.png", "-k", "0"], "k must be at least 1"),
        (["search", "shop", "photos/class 0/0.png", "--threshold", "x"], "a threshold is"),
        (["search", "shop", "photos/class 0/0.png", "--where", "a == 1"], "no field 'a'"),
    ],
)
def test_bad_input_is_one_line_and_code_2(here, capsys, command, message):
    assert main(command) == 2
    text = capsys.readouterr()
    assert message in text.err and text.err.count("\n") == 1 and not text.out
    assert main(["index", "verify", "shop"]) == 0


def test_two_additions_at_once_are_refused_before_an_image_is_read(here, monkeypatch, capsys):
    def reads(*arguments, **options):
        raise AssertionError("an image was read")

    monkeypatch.setattr("dml.commands.embed.embed_part", reads)
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
    assert "1 images could not be read" in said(capsys)
    assert "bad.png" in (here / "other.unreadable.csv").read_text()


def test_the_same_commands_over_milvus(tmp_path, monkeypatch, capsys):
    pytest.importorskip("milvus_lite", reason="needs dml[milvus]")
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    write_images(tmp_path / "photos")
    assert main(["index", "build", "bundle", "photos", "--out", "shop.db"]) == 0
    assert "shop.db: 12 items, 6 numbers each" in said(capsys)
    assert main(["index", "build", "bundle", "photos", "--out", "shop.db"]) == 2
    assert "shop.db is there already" in said(capsys)
    query = ["search", "shop.db", "photos/class 0/0.png", "-k", "3"]
    assert main(query) == 2
    assert "Milvus keeps no encoder: give its --bundle" in said(capsys)
    assert main([*query, "--bundle", "bundle", "--json", "--where", "label != 'class 1'"]) == 0
    near = json.loads(said(capsys))[0]["neighbours"]
    assert near[0]["id"] == "photos/class 0/0.png" and near[0]["same"]
    assert main(["index", "remove", "shop.db", "--where", "label == 'class 2'"]) == 0
    assert "4 removed; 8 items in shop.db" in said(capsys)
    assert main(["index", "add", "shop.db", "photos", "--bundle", "bundle"]) == 0
    assert "4 added, 8 replaced; 12 items in shop.db" in said(capsys)
    assert main(["index", "verify", "shop.db"]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["bundle", "photos", "shop.db"]
