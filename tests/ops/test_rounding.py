"""Rounding to bfloat16: neighbours, exact numbers and the mean."""

import keras
import ml_dtypes
import numpy as np

from dml.ops import round_at_random


def rounded(x, seed=0):
    found = round_at_random(np.asarray(x, "float32"), keras.random.SeedGenerator(seed))
    assert keras.backend.standardize_dtype(found.dtype) == "bfloat16"
    return keras.ops.convert_to_numpy(keras.ops.cast(found, "float32")).astype("float64")


def test_numbers_that_bfloat16_has_stay():
    x = np.array([0, 1, -1, 1.5, -2, 3.140625, 2.0**-100, -(2.0**100), np.inf, -np.inf])
    for seed in range(5):
        np.testing.assert_array_equal(rounded(x, seed), x)
    assert np.isnan(rounded(np.nan))


def test_others_become_a_neighbour_and_their_mean_is_exact():
    x = np.random.default_rng(0).normal(size=64).astype("float32")
    found = np.stack([rounded(np.broadcast_to(x, (250, 64)), seed) for seed in range(8)])
    nearest = x.astype(ml_dtypes.bfloat16)
    neighbours = np.stack(
        [np.nextafter(nearest, ml_dtypes.bfloat16(end)) for end in (-np.inf, np.inf)] + [nearest]
    ).astype("float64")
    assert (found[..., None, :] == neighbours).any(axis=-2).all()
    assert (np.abs(found - x) < np.abs(x) / 128).all()  # as 8 bits are significant
    # The distance of the mean, in its standard error; the chances are within the spacing.
    error = np.abs(x) / 128 / 2 / np.sqrt(2000)
    assert (np.abs(found.mean(axis=(0, 1)) - x) < 4.5 * error).all()
