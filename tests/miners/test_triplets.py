"""Counts of selected triplets, against loops over every triplet."""

import keras
import numpy as np
import pytest

from dml.miners._triplets import MINING, _largest, triplet_counts
from dml.ops import as_weights, pair_masks
from tests.losses import reference


def counts(labels, d, margin, mining):
    masks = pair_masks(np.asarray(labels))
    found = triplet_counts(keras.ops.cast(d, "float32"), *masks, margin, mining)
    return [keras.ops.convert_to_numpy(c) for c in found]


@pytest.mark.parametrize("mining", MINING)
@pytest.mark.parametrize("kind", ["distinct", "tied"])
def test_agrees_with_loops_over_triplets(mining, kind):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 20)
    d = rng.random((20, 20))
    if kind == "tied":
        d = np.round(d, 1)
    expected = np.zeros((2, 20, 20))
    # 0.15 keeps the rounded distances away from the hinge, which decides nothing there.
    for a, p, n, share in reference.selected_triplets(labels, d, 0.15, mining):
        expected[0, a, p] += share
        expected[1, a, n] += share
    np.testing.assert_allclose(counts(labels, d, 0.15, mining), expected, atol=1e-5)


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
@pytest.mark.parametrize("of_each", [4, 6])  # counted one by one, and by sorting
@pytest.mark.parametrize("weights", [False, True])
@pytest.mark.parametrize("margin, places", [(0.0, 1), (0.25, 9), (0.25, 1)])
def test_a_negative_at_the_margin_is_beyond_it(mining, of_each, weights, margin, places):
    labels = np.arange(4 * of_each) % 4
    # Distances are multiples of 0.25, exact in floats; one place is a collapsed batch.
    d = np.random.default_rng(0).integers(0, places, 2 * labels.shape) / 4
    expected = np.zeros((2, *d.shape))
    for a, p, n, share in reference.selected_triplets(labels, d, margin, mining):
        expected[0, a, p] += share
        expected[1, a, n] += share
    masks = pair_masks(labels)
    masks = [as_weights(mask) for mask in masks] if weights else masks
    found = triplet_counts(keras.ops.cast(d, "float32"), *masks, margin, mining)
    for counted, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(keras.ops.convert_to_numpy(counted), wanted, atol=1e-5)


@pytest.mark.parametrize("width", [7, 256, 320])
def test_the_largest_of_each_row_are_found_where_they_are(width):
    rng = np.random.default_rng(0)
    x = np.round(rng.random((30, width)), 2).astype("float32")  # with ties
    x[rng.random(x.shape) < np.linspace(0, 1, 30)[:, None]] = -np.inf
    values, places = (keras.ops.convert_to_numpy(a) for a in _largest(keras.ops.array(x), 4))
    np.testing.assert_array_equal(values, -np.sort(-x, axis=1)[:, :4])
    np.testing.assert_array_equal(np.take_along_axis(x, places.astype(int), 1), values)
    assert all(len(set(row)) == 4 for row in places.tolist())


@pytest.mark.parametrize("mining", MINING)
def test_every_triplet_has_one_positive_and_one_negative(mining):
    rng = np.random.default_rng(1)
    as_positive, as_negative = counts(rng.integers(0, 3, 16), rng.random((16, 16)), 0.3, mining)
    np.testing.assert_allclose(as_positive.sum(1), as_negative.sum(1), atol=1e-5)


@pytest.mark.parametrize("mining", MINING)
def test_no_triplet_without_both_kinds(mining):
    for labels in ([0, 0, 0], [0, 1, 2]):
        for count in counts(np.array(labels), np.zeros((3, 3)), 0.2, mining):
            assert count.sum() == 0
