"""Cropping and resizing, worked by hand."""

import numpy as np

from dml.augmentations._geometry import random_area, randomly_flipped
from dml.images._resizing import centre_square, resized


def stripes(height, width):
    """Returns an image whose pixel values are their column."""
    return np.broadcast_to(np.arange(width, dtype=np.uint8)[None, :, None], (height, width, 3))


def test_centre_square_takes_the_middle():
    square = centre_square(np.ascontiguousarray(stripes(4, 10)), 4)
    np.testing.assert_array_equal(square[0, :, 0], [3, 4, 5, 6])


def test_shrinking_averages():
    np.testing.assert_array_equal(resized(4 * stripes(4, 4), 2)[0, :, 0], [2, 10])


def test_random_areas_are_within_the_image_and_the_limits():
    generator = np.random.default_rng(0)
    shares = []
    for _ in range(500):
        rows, columns = random_area((100, 120, 3), (0.2, 0.6), (0.75, 4 / 3), generator)
        height, width = rows.stop - rows.start, columns.stop - columns.start
        assert rows.start >= 0 and rows.stop <= 100 and columns.start >= 0 and columns.stop <= 120
        assert 0.72 < width / height < 1.38
        shares.append(height * width / 12000)
    assert 0.19 < min(shares) < 0.22 and 0.55 < max(shares) < 0.62


def test_where_no_area_fits_it_keeps_as_much_as_it_can():
    rows, columns = random_area((3, 300, 3), (0.9, 1.0), (0.75, 4 / 3), np.random.default_rng(0))
    assert (rows.stop - rows.start, columns.stop - columns.start) == (3, 4)


def test_flips_left_to_right():
    image = np.ascontiguousarray(stripes(2, 3))
    generator = np.random.default_rng(0)
    np.testing.assert_array_equal(randomly_flipped(image, 1, generator)[0, :, 0], [2, 1, 0])
    np.testing.assert_array_equal(randomly_flipped(image, 0, generator), image)
