"""Images with several labels each: what their cells hold, and splits that would share labels."""

import pytest

from dml.datasets import Items
from dml.datasets._label_sets import check_held_out, protocol_of_sets, sets_of_labels
from dml.errors import OptionError


def error(row, text):
    return ValueError(f"{row} {text}")


def test_labels_of_a_cell_are_in_order_and_each_once():
    assert sets_of_labels(["b|a", "a| b |a", "c"], "|", error) == ["a|b", "a|b", "c"]
    assert sets_of_labels(["b|a", 3], "", error) == ["b|a", 3]
    with pytest.raises(ValueError, match=r"1 has an empty label in 'a\|'"):
        sets_of_labels(["a", "a|"], "|", error)


def test_a_label_on_both_sides_is_a_seen_class():
    names, splits = ["a|b", "b|c"], ["train", "test"]
    assert protocol_of_sets(names, splits, "|") == "seen-class"
    assert protocol_of_sets(names, splits, "") == "zero-shot"


def test_classes_that_share_labels_are_not_held_out():
    def items(protocol):
        return Items.build(list("12"), ["a|b", "b"], "train", list("12"), protocol, separator="|")

    for fractions, by, option in (
        ((0.2, 0.0), "images", "protocol"),
        ((0, 0.1), "classes", "vali"),
    ):
        with pytest.raises(OptionError, match=rf"dataset\.{option}"):
            check_held_out(items("zero-shot"), False, *fractions, by)
    check_held_out(items("seen-class"), False, 0.2, 0.1, "images")
    check_held_out(items("zero-shot"), True, 0.2, 0.0, "classes")
