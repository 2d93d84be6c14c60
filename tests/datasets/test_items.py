"""The table that every data set is read into."""

import numpy as np
import pytest

from dml.datasets import Items


def table(names, splits="train", protocol="zero-shot"):
    ids = [f"{i}.jpg" for i in range(len(names))]
    return Items.build(ids, names, splits, ids, protocol)


@pytest.mark.parametrize(
    "names",
    [
        ["b", "a", "b"],
        [2**60 + 1, 2**60, 2**60 + 1],
        [("x", 2), ("x", 1), ("x", 2)],
        list(np.array([7, 3, 7])),
        [b"b", b"a", b"b"],
    ],
)
def test_names_of_any_type_become_codes_in_their_order(names):
    items = table(names)
    assert items.labels.tolist() == [1, 0, 1] and items.labels.dtype == np.int32
    assert [items.class_names[code] for code in items.labels] == names


def test_mixed_types_are_ordered_too():
    items = table(["a", 1, ("x",), 1])
    assert [items.class_names[code] for code in items.labels] == ["a", 1, ("x",), 1]


def test_an_accent_may_be_a_character_of_its_own():
    composed, apart = "caf\u00e9", "cafe\u0301"
    items = table([composed, apart, "b"])
    assert items.labels.tolist() == [1, 1, 0] and items.class_names == ("b", composed)
    ids = [f"{apart}/1.jpg", f"{composed}/1.jpg"]
    items = Items.build(ids, [1, 2], "train", ids, "zero-shot", [apart, composed])
    assert items.super_labels.tolist() == [0, 0]
    assert items.ids.tolist() == items.paths.tolist() == ids  # as the files are called


def test_selection_codes_the_labels_again():
    items = table(["a", "b", "c", "b"], ["train", "test", "test", "test"])
    test = items.select("test")
    assert test.labels.tolist() == [0, 1, 0] and test.class_names == ("b", "c")
    assert test.labels.dtype == np.int32
    assert len(items.select("val")) == 0


def test_validation_takes_whole_classes():
    items = table(np.repeat(np.arange(10), 5).tolist()).with_validation(0.2, seed=3)
    assert len(items.select("val").class_names) == 2 and len(items.select("val")) == 10


def test_validation_under_seen_class_takes_a_share_of_every_class():
    items = table(np.repeat(np.arange(4), 10).tolist(), protocol="seen-class")
    val = items.with_validation(0.2).select("val")
    assert np.bincount(val.labels).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("protocol", ["zero-shot", "seen-class"])
def test_validation_by_images_leaves_an_image_to_be_found_by_on_both_sides(protocol):
    names = np.repeat(np.arange(8), [1, 2, 3, 4, 5, 7, 10, 40]).tolist()
    items = table(names, protocol=protocol).with_validation(0.2, by="images")
    moved = np.bincount(items.labels[items.splits == "val"], minlength=8)
    assert moved.tolist() == [0, 0, 0, 2, 2, 2, 2, 8]
    assert items.with_validation(0.9, by="images").splits.tolist() == items.splits.tolist()
    most = table(names, protocol=protocol).with_validation(0.99, by="images")
    assert np.bincount(most.labels[most.splits == "val"], minlength=8)[-1] == 38
    again = table(names, protocol=protocol).with_validation(0.2, seed=1, by="images")
    assert again.splits.tolist() != items.splits.tolist()


def test_two_classes_stay_and_two_move():
    items = table(np.repeat(np.arange(4), 5).tolist())
    for fraction in (0.5, 0.99):
        split = items.with_validation(fraction)
        assert len(split.select("val").class_names) == len(split.select("train").class_names) == 2


@pytest.mark.parametrize(("classes", "fraction"), [(7, 0.2), (3, 0.5), (3, 0.9), (1, 0.2)])
def test_of_few_classes_images_move(classes, fraction):
    # Two in ten of seven classes are one, among whose images there is nothing to find.
    items = table(np.repeat(np.arange(classes), 10).tolist()).with_validation(fraction)
    held_out = round(10 * fraction) if fraction < 0.9 else 8
    assert np.bincount(items.select("val").labels).tolist() == [held_out] * classes


def test_eight_classes_are_enough_for_two():
    items = table(np.repeat(np.arange(8), 10).tolist()).with_validation(0.2)
    assert np.bincount(items.select("val").labels).tolist() == [10, 10]


def test_a_validation_split_of_ones_own_stays():
    items = table(["a", "b", "c"], ["train", "train", "val"])
    assert items.with_validation(0.5).splits.tolist() == items.splits.tolist()


def test_a_test_split_can_be_set_apart():
    items = table(np.repeat(np.arange(10), 2).tolist()).with_test(0.3)
    assert len(items.select("test").class_names) == 3


@pytest.mark.parametrize(
    "change, message",
    [
        ({"names": ["a", None]}, "row 1 has no class name"),
        ({"names": [1.0, float("nan")]}, "row 1 has no class name"),
        ({"ids": ["x", "x"]}, "'x' occurs more than once"),
        ({"splits": ["train", "tset"]}, "got 'tset'"),
        ({"protocol": "few-shot"}, "got 'few-shot'"),
        ({"names": ["a"]}, "equal lengths; got 2, 1, 2, 2"),
    ],
)
def test_says_what_is_wrong(change, message):
    options = {
        "paths": ["1", "2"],
        "names": ["a", "b"],
        "splits": "train",
        "ids": ["1", "2"],
        "protocol": "zero-shot",
        **change,
    }
    with pytest.raises(ValueError, match=message):
        Items.build(**options)


def test_a_search_leaves_out_what_a_camera_took_of_a_class():
    cameras = ["1", float("nan"), 2, "1"]
    items = Items.build("abcd", list("yxxx"), "test", "abcd", "zero-shot", cameras=cameras)
    assert items.left_out_keys("none") is None
    assert items.left_out_keys("camera").tolist() == [(1, "1"), None, (0, "2"), (0, "1")]
    assert items.take([2, 0]).left_out_keys("camera").tolist() == [(0, "2"), (1, "1")]
    assert items.with_test(0.0).cameras.tolist() == ["1", None, "2", "1"]
    with pytest.raises(
        ValueError, match=r"evaluation\.exclude is sequence, but the data set has no"
    ):
        items.left_out_keys("sequence")
    with pytest.raises(ValueError, match="cameras and sequences must be 4, one an image; got 1"):
        Items.build("abcd", list("yxxx"), "test", "abcd", "zero-shot", sequences=["1"])
