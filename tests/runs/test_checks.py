"""What is refused before a training starts."""

import pytest

from dml.datasets import Items
from dml.errors import DataError, OptionError
from dml.recipe import load_recipe
from dml.runs._checks import check_sample, check_splits, check_stage


def items(labels, splits):
    names = [str(number) for number in range(len(labels))]
    return Items.build(names, list(labels), splits.split(), names, "zero-shot")


@pytest.mark.parametrize(
    "labels, splits, text",
    [
        ("aabb", "test test test test", "there are no images to train on"),
        ("aabbcc", "train train test test test test", "there is only one class to train on, a"),
        ("aabbcc", "train train train train test test", "all test images are of one class, c"),
        ("aabbc", "train train train train val", "without two images of a class"),
    ],
)
def test_splits_of_which_nothing_can_be_learned_or_measured(labels, splits, text):
    with pytest.raises((DataError, OptionError), match=text):
        check_splits(items(labels, splits), "x", True, "none")


def test_one_class_is_enough_without_labels():
    check_splits(items("aa", "train train"), "x", False, "none")


def test_a_head_stage_trains_an_embedding_layer():
    check_stage(load_recipe("glyphs", ["--embedding.dim=0"]))
    with pytest.raises(OptionError, match=r"embedding\.dim must be positive for training\.stage"):
        check_stage(load_recipe("glyphs", ["--embedding.dim=0", "--training.stage=head"]))


def test_a_sample_of_the_classes_holds_those_of_a_batch():
    check_sample(1.0, 4, 12)
    check_sample(0.5, 24, 12)
    with pytest.raises(OptionError, match=r"head\.sample takes 11 of 22 classes .* of 12 images"):
        check_sample(0.5, 22, 12)
