"""One thing is not several things."""

import pytest

from dml._text import number_of


@pytest.mark.parametrize(
    "count, noun, text",
    [
        (1, "class", "1 class"),
        (0, "class", "0 classes"),
        (2000, "test image", "2,000 test images"),
        (1, "query", "1 query"),
        (2, "query", "2 queries"),
        (2, "batch", "2 batches"),
        (2, "epoch", "2 epochs"),
        (2, "day", "2 days"),
    ],
)
def test_a_number_of_things(count, noun, text):
    assert number_of(count, noun) == text


def test_numbers_below_each_other():
    assert number_of(1, "image", 6) == "     1 image"
    assert number_of(1500, "image", 6) == " 1,500 images"
