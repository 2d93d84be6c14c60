"""Images become squares."""

import numpy as np
import pytest

from dml.images._resizing import resized, square


@pytest.mark.parametrize("aspect", ["keep", "stretch"])
def test_a_size_of_0_is_rejected(aspect):
    with pytest.raises(ValueError, match="size must be at least 1; got 0"):
        square(np.zeros((5, 7, 3), "uint8"), 0, aspect)


@pytest.mark.parametrize("upright", [False, True])
def test_a_side_that_shrinks_is_averaged_where_the_other_one_grows(upright):
    stripes = np.zeros((4, 24, 3), "uint8")
    stripes[:, 1::2] = 255  # between black and white from column to column
    stripes[2:, 12:] = 90
    image = np.swapaxes(stripes, 0, 1) if upright else stripes
    found = resized(image, 8).astype(int)
    found = np.swapaxes(found, 0, 1) if upright else found
    # Each third of a column has as much of black as of white, to one half of a column in three.
    assert np.abs(found[:, :4] - 127.5).max() <= 127.5 / 3 + 1
    assert np.abs(found[-1, 5:] - 90).max() <= 1


def test_sides_that_shrink_by_whole_factors_are_means_of_blocks():
    image = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype="uint8")
    expected = image.reshape(3, 2, 3, 3, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(resized(image, 3), expected, atol=0.51)
