"""Samples of a tar."""

import pytest

from dml.datasets._tar_samples import is_mask, samples_of


def test_a_sample_is_named_up_to_the_first_dot():
    members = ["a/1.left.JPG", "a/1.cls", "b.c/1.png", "a/.1.png", "folder", "2."]
    assert samples_of(members) == {
        "a/1": {"left.jpg": "a/1.left.JPG", "cls": "a/1.cls"},
        "b.c/1": {"png": "b.c/1.png"},
    }


@pytest.mark.parametrize("field, mask", [("mask.png", True), ("png", False), ("masked.png", False)])
def test_a_mask_is_named_so(field, mask):
    assert is_mask(field) is mask
