"""Super-labels are checked, and merged if they are too small."""

import numpy as np
import pytest

from dml.samplers._super_classes import checked, joined


def test_by_hand():
    # Parts of 2 classes with 2 images. 0 has one class, 1 two with one image each, 2 and 3 fill
    # theirs; 0 and 1 together have three classes that give 4 images.
    labels = np.array([0, 0, 1, 2, 3, 3, 4, 4, 5, 5, 6, 6])
    codes = np.array([0, 0, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3])
    found, count = joined(codes, labels, classes=2, images=2, repeats=False)
    assert count == 3
    assert found.tolist() == [0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]
    # Classes that repeat their image give two: only 0 is too small, and takes 1 with it.
    assert joined(codes, labels, classes=2, images=2, repeats=True)[0].tolist() == found.tolist()


def test_the_next_smallest_joins_where_the_small_ones_are_not_enough():
    labels = np.repeat(np.arange(9), 2)
    codes = np.repeat([0, 1, 2], [2, 6, 10])  # of 1, 3 and 5 classes
    found, count = joined(codes, labels, classes=3, images=2, repeats=False)
    assert count == 2 and found.tolist() == [0] * 8 + [1] * 10


def test_super_classes_that_are_large_enough_stay():
    codes = np.repeat([0, 1], 4)
    found, count = joined(codes, np.repeat(np.arange(4), 2), 2, 2, repeats=False)
    assert count == 2 and found is codes


def test_all_together_may_be_too_small():
    with pytest.raises(ValueError, match=r"2 classes, which give 3 images; lower"):
        joined(np.array([0, 0, 1]), np.array([0, 0, 1]), 3, 2, repeats=False)


def test_codes_follow_the_order_of_any_labels():
    assert checked([70, 70, -2, 30], [0, 0, 1, 2]).tolist() == [2, 2, 0, 1]
    assert checked(["b", "a"], [0, 1]).tolist() == [1, 0]


@pytest.mark.parametrize(
    "super_labels, message",
    [
        (None, "this data set has none"),
        ([1, 1], "one for each image"),
        ([1, 2, 3], "class 7 has 1 and 2"),
    ],
)
def test_refuses_labels_without_one_super_label_for_each_class(super_labels, message):
    with pytest.raises(ValueError, match=message):
        checked(super_labels, [7, 7, 8])
