"""The coverage of an epoch."""

import numpy as np
import pytest

from dml.samplers import Coverage, coverage, shard


def test_by_hand():
    # Classes 5, 6 of 5, 6, 7; images 0, 1, 2 of 6; in the second batch image 2 a second time.
    found = coverage([[0, 1], [2, 2]], [5, 5, 6, 6, 7, 7])
    assert found == Coverage(classes=pytest.approx(2 / 3), images=0.5, copies=0.25)
    assert str(found) == (
        "66.7% of the classes and 50.0% of the images an epoch; 25.0% are copies within a batch"
    )


def test_nothing_is_covered_by_no_batches():
    assert coverage(np.empty((0, 4), np.int64), [1, 2]) == Coverage(0, 0, 0)


def test_shards_together_are_the_batch():
    batches = np.arange(24).reshape(4, 6)
    parts = [shard(batches, i, 3) for i in range(3)]
    assert all(part.shape == (4, 2) for part in parts)
    np.testing.assert_array_equal(np.concatenate(parts, axis=1), batches)


def test_a_batch_that_does_not_divide_is_refused_with_the_nearest_that_do():
    with pytest.raises(ValueError, match="make it 4 or 8"):
        shard(np.zeros((2, 6), int), 0, 4)
    with pytest.raises(ValueError, match="index"):
        shard(np.zeros((2, 6), int), 2, 2)
