"""Tests specific to tar shards in the layout of WebDataset."""

import json

import cv2
import numpy as np
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


BOXES = [{"x0": 0, "y0": 2, "x1": 5, "y1": 6}, {"x0": 5, "y0": 0, "x1": 24, "y1": 20}]


def boxed(in_json=True, **more):
    """Returns the members of two samples with boxes and cameras."""
    members = {}
    for number, box in enumerate(BOXES):
        members |= {f"{number}.png": png(number), f"{number}.cls": "hat"}
        columns = {**box, "camera": f"cam {number}", "sequence": None}
        if in_json:
            members[f"{number}.json"] = json.dumps({**columns, "other": [1]})
        else:
            members |= {f"{number}.{name}": f"{v or ''}" for name, v in columns.items()}
            members |= {f"{number}.{name}": f"{box[name]}" for name in box}
    return members | more


@pytest.mark.parametrize("in_json", [True, False])
def test_boxes_and_cameras_of_samples(tmp_path, in_json):
    items = items_of(tmp_path, boxed(in_json))
    assert items.ids.tolist() == ["s.tar!0.png", "s.tar!1.png"]
    assert items.cameras.tolist() == ["cam 0", "cam 1"]
    assert items.sequences.tolist() == [None, None]
    assert items.notes == ("boxes are in pixels",)
    for number, (path, box) in enumerate(zip(items.paths, BOXES, strict=True)):
        (tmp_path / "whole.png").write_bytes(png(number))
        whole = read_image(tmp_path / "whole.png")
        cut = whole[box["y0"] : box["y1"], box["x0"] : box["x1"]]
        assert (read_image(path) == cut).all()


def test_the_first_sample_may_lack_what_others_have(tmp_path):
    members = boxed() | {"0.json": json.dumps({"other": 1})}
    with pytest.raises(DataError, match=r"s\.tar!0\.png has no x0"):  # not left out in silence
        items_of(tmp_path, members)


def test_a_mask_is_an_image_of_the_sample(tmp_path):
    mask = np.zeros((20, 24, 3), "uint8")
    mask[3:9, 4:10] = 255
    masks = {f"{n}.mask.png": cv2.imencode(".png", mask)[1].tobytes() for n in range(2)}
    items = items_of(
        tmp_path, {"0.png": png(), "0.cls": "a", "1.png": png(), "1.cls": "b", **masks}
    )
    (tmp_path / "whole.png").write_bytes(png())
    expected = np.where(mask, read_image(tmp_path / "whole.png"), 255)
    assert all((read_image(path) == expected).all() for path in items.paths)
    del masks["1.mask.png"]
    with pytest.raises(DataError, match=r"s\.tar!1\.png has no mask"):
        items_of(tmp_path, {"0.png": png(), "0.cls": "a", "1.png": png(), "1.cls": "b", **masks})


def test_several_labels_in_a_field(tmp_path):
    members = {"0.png": png(), "0.cls": "red|hat", "1.png": png(1), "1.cls": "hat"}
    options = {"protocol": "seen-class", "validation": "images", "label_separator": "|"}
    assert items_of(tmp_path, members, **options).class_names == ("hat", "hat|red")
    with pytest.raises(DataError, match=r"s\.tar!1\.png has an empty label in 'hat\|'"):
        items_of(tmp_path, members | {"1.cls": "hat|"}, **options)


def test_several_labels_in_a_list(tmp_path):
    members = {"0.png": png(), "0.json": '{"a": [3, " red"]}', "1.png": png(1)}
    options = {"protocol": "seen-class", "validation": "images", "label_separator": "|"}
    options["label"] = "json.a"
    items = items_of(tmp_path, members | {"1.json": '{"a": ["red", "3"]}'}, **options)
    assert items.class_names == ("3|red",)
    wrong = {
        "[]": "holds no label: its list is empty",
        "[{}]": "a list of other things",
        '[""]': "1 has an empty label",
    }
    for text, message in wrong.items():
        with pytest.raises(DataError, match=message):
            items_of(tmp_path, members | {"1.json": f'{{"a": {text}}}'}, **options)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        ("{}", r"s\.tar!1\.png has no x0"),
        ("[1]", r"s\.tar!1\.png has no x0"),
        ('{"x0": [1]}', r"sample 1: x0 must be text or a number; got '\[1\]'"),
        ("{", r"s\.tar!1\.png has no x0"),
    ],
)
def test_columns_that_are_wrong(tmp_path, member, message):
    with pytest.raises(DataError, match=message):
        items_of(tmp_path, boxed(**{"1.json": member}))


def test_other_keys_of_these_names_are_not_read(tmp_path):
    other = json.dumps({**BOXES[1], "camera": {"make": "x"}, "sequence": [1, 2]})
    items = items_of(tmp_path, boxed(**{"1.json": other}))
    assert items.cameras.tolist() == ["cam 0", None]
    assert items.sequences.tolist() == [None, None]


def test_json_without_columns_is_not_read(tmp_path):
    members = {"0.png": png(), "0.cls": "a", "0.json": "[1]", "1.png": png(), "1.cls": "b"}
    items = items_of(tmp_path, members | {"1.json": "no json"})
    assert items.cameras is None and items.notes == ()


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
        ("json", '{"a": {}}', "json.a", r"json\.a holds no label: '{}'"),
        ("json", '{"a": [1]}', "json.a", r"json\.a holds a list: .*--dataset\.label_separator"),
        ("json", '{"a": 1}', "json.a.b", "no 'b' in its JSON, which has no keys"),
    ],
)
def test_a_label_that_can_not_be_read_is_named(tmp_path, field, text, label, message):
    with pytest.raises(DataError, match=message) as error:
        items_of(tmp_path, {"a.png": png(), f"a.{field}": text}, label=label)
    assert "\n" not in str(error.value) and "s.tar: sample a: " in str(error.value)
