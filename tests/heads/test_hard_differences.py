"""The hardest triplets' differences of distances, worked by hand."""

import numpy as np
from keras import ops

from dml.heads._hard_differences import hard_differences


def test_the_negative_is_the_nearest_to_either_of_the_pair():
    # On a line: positives at 0 and 0.6, a negative at 0.9: nearest to the second, at 0.3.
    x = np.array([[0.0, 0], [0.6, 0], [0.9, 0]], "float32")
    found, weights = (
        ops.convert_to_numpy(one)
        for one in hard_differences(ops.convert_to_tensor(x), np.array([0, 0, 1]))
    )
    np.testing.assert_allclose(found[0, 1], 0.6 - 0.3, atol=1e-5)
    np.testing.assert_allclose(found[1, 0], 0.6 - 0.3, atol=1e-5)
    np.testing.assert_array_equal(weights, [[0, 1, 0], [1, 0, 0], [0, 0, 0]])


def test_a_pair_without_a_negative_has_no_weight():
    x = np.array([[0.0, 0], [0.6, 0]], "float32")
    found, weights = (
        ops.convert_to_numpy(one)
        for one in hard_differences(ops.convert_to_tensor(x), np.array([0, 0]))
    )
    assert not found.any() and not weights.any()
