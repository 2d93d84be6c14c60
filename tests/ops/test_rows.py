"""Rows of variables are read and replaced, and no others."""

import keras
import numpy as np
from keras import ops

from dml.ops import set_rows, take_rows


def test_rows_are_taken_and_replaced():
    before = np.arange(24, dtype="float32").reshape(6, 2, 2)
    variable = keras.Variable(before)
    rows = ops.convert_to_tensor([1, 4], dtype="int32")
    np.testing.assert_array_equal(ops.convert_to_numpy(take_rows(variable, rows)), before[[1, 4]])
    set_rows(variable, rows, np.full((2, 2, 2), -1.0, "float32"))
    after = before.copy()
    after[[1, 4]] = -1.0
    np.testing.assert_array_equal(ops.convert_to_numpy(variable), after)
