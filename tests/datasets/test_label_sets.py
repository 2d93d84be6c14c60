"""Images with several labels each: what their cells hold, and splits that would share labels."""

import pytest

from dml.datasets import Items
from dml.datasets._label_sets import (
    as_integers,
    check_held_out,
    joined_labels,
    protocol_of_sets,
    sets_of_labels,
)
from dml.errors import DataError, OptionError


def error(row, text):
    return ValueError(f"{row} {text}")


def test_labels_of_a_cell_are_in_order_and_each_once():
    assert sets_of_labels(["b|a", "a| b |a", "c"], "|", error) == ["a|b", "a|b", "c"]
    assert sets_of_labels(["b|a", 3], "", error) == ["b|a", 3]
    with pytest.raises(ValueError, match=r"1 has an empty label in 'a\|'"):
        sets_of_labels(["a", "a|"], "|", error)


def test_labels_are_ordered_in_one_form():
    cells = ["\u00e9 | z", "z|e\u0301", "e\u0301|z|\u00e9"]
    assert sets_of_labels(cells, "|", error) == 3 * ["z|\u00e9"]


def test_labels_that_their_separator_does_not_tell_apart_are_refused():
    assert joined_labels(["a|", 3], " ", "f", "row 0") == "a| 3"
    assert joined_labels([], "||", "f", "row 0") is None
    assert joined_labels(["a", "|b"], "||", "f", "row 0") == "a|||b"
    for labels in (["a|", "b"], ["a||b"]):  # a|||b is a and |b
        with pytest.raises(DataError, match=r"f: row 0 has labels .* '\|\|' does not tell apart"):
            joined_labels(labels, "||", "f", "row 0")
    assert joined_labels(["b", "a|"], "||", "f", "row 0") == "b||a|"
    with pytest.raises(ValueError, match=r"0 has labels .* does not tell apart in 'b\|\|a\|'"):
        sets_of_labels(["b||a|"], "||", error)  # in order they are a|||b


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["-1", "0", "10"], [-1, 0, 10]),
        (["01", "2"], ["01", "2"]),
        (["1", "9" * 4001], ["1", "9" * 4001]),
        (["1", "9" * 4000], [1, 10**4000 - 1]),
        (["1", 2], ["1", 2]),
    ],
)
def test_labels_are_integers_if_all_are_written_so(labels, expected):
    assert as_integers(labels) == expected


def test_a_label_on_both_sides_is_a_seen_class():
    names, splits = ["a|b", "b|c"], ["train", "test"]
    assert protocol_of_sets(names, splits, "|") == "seen-class"
    assert protocol_of_sets(names, splits, "") == "zero-shot"


def test_classes_that_share_labels_are_not_held_out():
    def items(protocol, split="train"):
        return Items.build(list("12"), ["a|b", "b"], split, list("12"), protocol, separator="|")

    for fractions, by, option in (
        ((0.2, 0.0), "images", "protocol"),
        ((0, 0.1), "classes", "vali"),
    ):
        with pytest.raises(OptionError, match=rf"dataset\.{option}"):
            check_held_out(items("zero-shot"), False, *fractions, by)
    check_held_out(items("seen-class"), False, 0.2, 0.1, "images")
    check_held_out(items("zero-shot"), True, 0.2, 0.0, "classes")
    check_held_out(items("zero-shot", "test"), True, 0.2, 0.1, "classes")  # nothing to hold out
