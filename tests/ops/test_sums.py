"""Sums and means over masks where the obvious formulas overflow."""

import numpy as np
import pytest
from keras import ops

from dml.ops import (
    log1p_sum_exp,
    log_sum_exp,
    mean_over,
    ratio,
    row_shares,
    share_kept,
    weighted_sum,
)
from tests.backend import value_and_grad


def array(x):
    return ops.convert_to_numpy(x)


def test_log1p_sum_exp_by_hand():
    x = np.array([[0.0, 1.0, 50.0]], "float32")
    where = np.array([[True, True, False]])
    result = array(log1p_sum_exp(ops.convert_to_tensor(x), where, axis=1))
    assert result[0] == pytest.approx(np.log(2 + np.e), rel=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_log1p_sum_exp_of_extreme_values(size):
    where = np.array([[True, True, True]])
    value, grad = value_and_grad(
        lambda x: ops.sum(log1p_sum_exp(x, where, axis=1)), np.full((1, 3), size)
    )
    assert value == pytest.approx(max(size, 0) + (np.log(3) if size > 88 else 0), rel=1e-6)
    np.testing.assert_allclose(grad, np.full((1, 3), 1 / 3 if size > 0 else 0.0), atol=1e-4)


def test_log1p_sum_exp_over_nothing():
    nowhere = np.zeros((1, 3), bool)
    value, grad = value_and_grad(
        lambda x: ops.sum(log1p_sum_exp(x, nowhere, axis=1)), np.full((1, 3), 1e30)
    )
    assert value == 0 and (grad == 0).all()


def test_log_sum_exp_counts_each_entry_by_its_weight():
    x, mask = ops.cast([[1.0, 2.0, 9.0]], "float32"), ops.cast([[1.0, 0.25, 0.0]], "float32")
    expected = np.log(np.e + 0.25 * np.e**2)
    assert array(log_sum_exp(x, mask, axis=1))[0] == pytest.approx(expected, rel=1e-6)


def test_weighted_sum_passes_no_gradient_to_its_weights():
    value, grad = value_and_grad(lambda x: weighted_sum(x, 2.0 * x), [[1.0, 3.0]])
    assert value == 20 and grad.tolist() == [[2, 6]]


def test_means_ratios_and_shares_over_nothing_are_0():
    values, mask = ops.cast([[1.0, np.inf], [4.0, 2.0]], "float32"), [[True, False], [True, True]]
    mask = ops.convert_to_tensor(mask)
    assert array(mean_over(values, mask)) == pytest.approx(7 / 3)
    assert array(mean_over(values, mask, axis=1)).tolist() == [1, 3]
    assert array(mean_over(values, ops.zeros((2, 2)), axis=1)).tolist() == [0, 0]
    assert array(ratio(ops.cast([6.0, 6.0], "float32"), ops.cast([3.0, 0.0], "float32")))[0] == 2
    shares = array(row_shares(ops.cast([[0.5, 1.5], [0.0, 0.0]], "float32")))
    assert shares.tolist() == [[0.25, 0.75], [0, 0]]


def test_the_share_of_pairs_that_are_kept():
    masks = np.array([[True, True]]), np.array([[1.0, 0.5]], "float32")
    kept = np.array([[True, False]]), np.array([[0.0, 0.5]], "float32")
    assert float(array(share_kept(kept, masks))) == pytest.approx(1.5 / 3.5)
    nothing = [np.zeros((1, 2), bool)]
    assert float(array(share_kept(nothing, nothing))) == 0
