"""Boxes and masks."""

import numpy as np
import pytest

from dml.images._regions import Box, BoxUnit, masked

SHARES = BoxUnit.SHARES


@pytest.mark.parametrize(
    "numbers, message",
    [
        ((0, 0, float("nan"), 5), "must be four finite numbers"),
        ((0, 0, float("inf"), 5), "must be four finite numbers"),
        ((5, 0, 5, 5), "is empty: x0 must be below x1, and y0 below y1"),
        ((0, 5, 5, 4), "is empty"),
        ((-1, 0, 5, 5), "no number may be negative"),
        ((0, 0, 0.5, 5), "less than a pixel"),
        ((0, 0, 0.5, 1.01, SHARES), "shares are at most 1"),
        ((0.5, 0, 0.5, 1, SHARES), "is empty"),
    ],
)
def test_an_invalid_box_is_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        Box(*numbers)


@pytest.mark.parametrize(
    "box, columns, rows",
    [
        (Box(0, 0, 1, 1), (0, 1), (0, 1)),
        (Box(1.5, 2.4, 2.5, 4.5), (2, 3), (2, 5)),  # halves are rounded up
        (Box(0, 0, 1, 1, SHARES), (0, 10), (0, 8)),
        (Box(0.24, 0.5, 0.26, 1, SHARES), (2, 3), (4, 8)),
    ],
)
def test_edges_are_rounded_to_whole_pixels(box, columns, rows):
    image = np.arange(8 * 10 * 3, dtype="uint8").reshape(8, 10, 3)
    assert (box.cut(image) == image[slice(*rows), slice(*columns)]).all()


@pytest.mark.parametrize("box", [Box(1, 2, 3.25, 4), Box(0.1, 0.2, 1 / 3, 1, SHARES)])
def test_a_box_is_what_its_text_says(box):
    assert Box.parse(str(box)) == box


def test_a_pixel_is_inside_a_mask_unless_it_is_black():
    image = np.full((2, 2, 3), 7, "uint8")
    mask = np.zeros((2, 2, 3), "uint8")
    mask[0, 1, 2] = 1
    assert masked(image, mask)[..., 0].tolist() == [[255, 7], [255, 255]]
