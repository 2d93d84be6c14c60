"""Histograms with gradients, worked by hand."""

import numpy as np
from keras import ops

from dml.ops import soft_histogram


def test_a_histogram_counts_every_value_once():
    x = ops.convert_to_tensor(np.array([[0.0, 0.25, 4.0, 9.0]], "float32"))
    every = soft_histogram(x, ops.ones((1, 4), "bool"), 0.0, 4.0, 4)
    np.testing.assert_allclose(ops.convert_to_numpy(every), [[1.75, 0.25, 0, 0, 2]], atol=1e-6)
