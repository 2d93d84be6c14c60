"""Counts with gradients, worked by hand."""

import numpy as np
from keras import ops

from dml.losses._soft_counts import (
    count_above,
    mean_of_anchors,
    nearer,
    without_itself,
)


def array(x):
    return ops.convert_to_numpy(x)


def test_references_above_another_are_counted():
    similarities = ops.convert_to_tensor(np.array([[0.9, 0.5, 0.1]], "float32"))
    above = nearer(similarities, temperature=0.001)
    np.testing.assert_allclose(array(above)[0], [[0.5, 0, 0], [1, 0.5, 0], [1, 1, 0.5]], atol=1e-6)
    every = np.ones((1, 3), bool)
    np.testing.assert_allclose(array(count_above(above, every)), [[0.5, 1.5, 2.5]], atol=1e-6)
    others = without_itself(ops.convert_to_tensor(every))
    np.testing.assert_allclose(array(count_above(above, others)), [[0, 1, 2]], atol=1e-6)


def test_anchors_without_a_positive_are_left_out_of_the_mean():
    values = ops.convert_to_tensor(np.array([[1.0, 3.0], [100.0, 100.0]], "float32"))
    positive = np.array([[True, True], [False, False]])
    assert float(array(mean_of_anchors(values, positive))) == 2.0
