"""Tests specific to tar shards in the layout of WebDataset."""

import json

import pytest

from dml.datasets import WebDataset
from dml.errors import DataError
from dml.images import read_image
from tests.datasets.layouts import png, write_tar

ALL = {"test_fraction": 0.0, "validation_fraction": 0.0}


def items_of(tmp_path, members, **options):
    path = write_tar(tmp_path / "s.tar", members)
    return WebDataset(root=str(path), **{**ALL, **options}).items()


def test_a_sample_is_what_shares_a_name_up_to_the_first_dot(tmp_path):
    members = {"x/a.b.png": png(1), "x/b.png": png(2), "x/a.cls": "cat", "x/b.cls": " dog\n"}
    items = items_of(tmp_path, members | {"./c.PNG": png(3), "./c.cls": "cat", ".hidden.png": "?"})
    assert items.ids.tolist() == ["s.tar!x/a.b.png", "s.tar!x/b.png", "s.tar!./c.PNG"]
    assert [items.class_names[code] for code in items.labels] == ["cat", "dog", "cat"]
    for seed, path in enumerate(items.paths, start=1):
        (tmp_path / "same.png").write_bytes(png(seed))
        assert (read_image(path) == read_image(tmp_path / "same.png")).all()


@pytest.mark.parametrize(
    ("texts", "classes"),
    [(("10", "9"), (9, 10)), (("010", "9"), ("010", "9")), (("x", "9"), ("9", "x"))],
)
def test_labels_are_integers_if_all_are_written_so(tmp_path, texts, classes):
    members = {"a.png": png(1), "a.cls": texts[0], "b.png": png(2), "b.cls": texts[1]}
    assert items_of(tmp_path, members).class_names == classes


def test_labels_from_text_and_json(tmp_path):
    members = {}
    for name, label in (("a", "cat"), ("b", "dog")):
        about = {"kind": {"name": label, "code": len(members)}}
        members |= {f"{name}.png": png(), f"{name}.txt": label, f"{name}.json": json.dumps(about)}
    assert items_of(tmp_path, members, label="txt").class_names == ("cat", "dog")
    assert items_of(tmp_path, members, label="json.kind.name").class_names == ("cat", "dog")
    assert items_of(tmp_path, members, label="json.kind.code").class_names == (0, 3)


def test_the_split_may_be_a_field(tmp_path):
    members = {}
    for name in ("train", "test", "Validation"):
        members |= {f"{name}.png": png(), f"{name}.cls": name, f"{name}.txt": name}
    items = items_of(tmp_path, members, split="txt")
    assert items.splits.tolist() == ["train", "test", "val"]
    with pytest.raises(DataError, match=r"s\.tar: train\.png: split must be one of .*; got '1'"):
        items_of(tmp_path, members | {"train.txt": "1"}, split="txt")


def test_one_of_several_images_is_chosen(tmp_path):
    members = {"a.left.png": png(1), "a.right.png": png(2), "a.cls": "1"}
    with pytest.raises(DataError, match=r"left\.png and right\.png: .* --dataset\.image left\.png"):
        items_of(tmp_path, members)
    assert items_of(tmp_path, members, image="right.png").ids.tolist() == ["s.tar!a.right.png"]


def test_samples_without_an_image_are_left_out(tmp_path):
    items = items_of(tmp_path, {"a.png": png(), "a.cls": "1", "b.cls": "2", "c.cls": "3"})
    assert len(items) == 1 and items.notes == ("left out: 2 without an image",)
    with pytest.raises(DataError, match=r"s\.tar: no images in it; left out: 1 without"):
        items_of(tmp_path, {"b.cls": "2"})


@pytest.mark.parametrize(
    ("field", "text", "label", "message"),
    [
        ("txt", "x", "cls", "sample a: no field 'cls'; it has png, txt: set --dataset.label"),
        ("cls", " ", "cls", "cls holds no label: ''"),
        ("cls", b"\xff", "cls", "cls is not UTF-8 text"),
        ("cls", "x" * 2**21, "cls", "2,097,152 bytes: it may have at most 1,048,576"),
        ("json", "{}", "json", r"name one of its keys, as in --dataset\.label json\.KEY"),
        ("json", "{", "json.a", "not valid JSON"),
        ("json", "[" * 100_000, "json.a", "not valid JSON"),
        ("json", '{"b": 1}', "json.a", "no 'a' in its JSON, which has b"),
        ("json", '{"a": [1]}', "json.a", r"json\.a holds no label: '\[1\]'"),
        ("json", '{"a": 1}', "json.a.b", "no 'b' in its JSON, which has no keys"),
    ],
)
def test_a_label_that_can_not_be_read_is_named(tmp_path, field, text, label, message):
    with pytest.raises(DataError, match=message) as error:
        items_of(tmp_path, {"a.png": png(), f"a.{field}": text}, label=label)
    assert "\n" not in str(error.value) and "s.tar: sample a: " in str(error.value)
