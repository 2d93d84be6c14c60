"""Lengths and cosines of rows of any size, and their gradients against finite differences."""

import numpy as np
import pytest
from keras import ops

from dml.ops import cosines_to, products, spread_within_classes, unit_length
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_unit_length_of_any_size(size):
    x = np.array([[3.0, 4.0]])
    result = ops.convert_to_numpy(unit_length(ops.cast(size * x, "float32")))
    np.testing.assert_allclose(result, [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-42, 1e-40, 1e-36, 1e-30, 1.0, 1e30])
def test_unit_length_has_the_gradient_of_the_formula_at_any_size(size):
    weights = np.array([[3.0, -1.0, 2.0]])
    direction = np.array([[1.0, 2.0, -2.0]]) / 3
    value, grad = value_and_grad(
        lambda x: ops.sum(ops.cast(weights, "float32") * unit_length(x)), 3 * size * direction
    )
    # Of w.u the gradient is (w - (w.u) u) / length; 0 where float32 can't hold it.
    along = (weights * direction).sum() if size > 1e-34 else 0.0
    expected = (weights - along * direction) / (3 * size) if size > 1e-34 else 0.0 * direction
    assert value == pytest.approx(along, rel=1e-5)
    np.testing.assert_allclose(grad, expected, rtol=1e-5)


def test_unit_length_of_zero():
    value, grad = value_and_grad(lambda x: ops.sum(unit_length(x)), np.zeros((2, 3)))
    assert value == 0 and (grad == 0).all()


def test_unit_length_agrees_with_finite_differences():
    x = np.random.default_rng(0).normal(size=(2, 4))
    weights = np.random.default_rng(1).normal(size=(2, 4))

    def exact(x):
        return (weights * x / np.linalg.norm(x, axis=1, keepdims=True)).sum()

    _, grad = value_and_grad(lambda x: ops.sum(ops.cast(weights, "float32") * unit_length(x)), x)
    np.testing.assert_allclose(grad, finite_differences(exact, x), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("compiled", [False, True])
def test_cosines_agree_with_finite_differences_on_both_sides(compiled):
    both = np.random.default_rng(0).normal(size=(5, 4))  # 2 embeddings, 3 rows
    weights = np.random.default_rng(1).normal(size=(2, 3))

    def exact(x):
        return (weights * (x[:2] @ x[2:].T) / np.linalg.norm(x[2:], axis=1)).sum()

    def weighed(x):
        return ops.sum(ops.cast(weights, "float32") * cosines_to(x[:2], x[2:]))

    value, grad = value_and_grad(weighed, both, compiled=compiled)
    assert value == pytest.approx(exact(both), rel=1e-5)
    np.testing.assert_allclose(grad, finite_differences(exact, both), rtol=1e-3, atol=1e-5)


def test_cosines_to_nothing_are_0():
    value, grad = value_and_grad(
        lambda x: ops.sum(cosines_to(ops.ones((1, 3)), x)), np.zeros((2, 3))
    )
    assert value == 0 and (grad == 0).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_products_within_agree_with_finite_differences(compiled):
    x = np.random.default_rng(0).normal(size=(4, 3))
    weights = np.random.default_rng(1).normal(size=(4, 4))  # not symmetric

    def weighed(x):
        return ops.sum(ops.cast(weights, "float32") * products(x, x))

    value, grad = value_and_grad(weighed, x, compiled=compiled)
    assert value == pytest.approx((weights * (x @ x.T)).sum(), rel=1e-5)
    exact = finite_differences(lambda x: (weights * (x @ x.T)).sum(), x)
    np.testing.assert_allclose(grad, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length", [1.0, 30.0])
def test_spread_is_that_of_directions_whatever_the_lengths(length):
    rng = np.random.default_rng(0)
    proxies = length * rng.normal(size=(2, 3, 4)).astype("float32")
    value, grad = value_and_grad(spread_within_classes, proxies)
    expected, at_unit = value_and_grad(lambda p: spread_within_classes(unit_length(p)), proxies)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(grad, at_unit, atol=1e-4 / length)


def test_spread_of_long_proxies_is_that_of_their_directions():
    proxies = np.random.default_rng(0).normal(size=(2, 3, 4))
    unit = proxies / np.linalg.norm(proxies, axis=2, keepdims=True)
    cosines = np.einsum("ikd,ild->ikl", unit, unit)
    expected = sum(np.sqrt(2 + 1e-5 - 2 * c[np.triu_indices(3, 1)]).sum() for c in cosines)
    value, grad = value_and_grad(spread_within_classes, 1e18 * proxies)
    assert value == pytest.approx(expected, rel=1e-5) and np.abs(grad).max() < 1e-17


@pytest.mark.parametrize("size", [0.0, 1e20, 1e37])
def test_proxies_of_no_length_that_float32_holds_are_at_right_angles(size):
    proxies = size * np.random.default_rng(0).normal(size=(2, 3, 4))
    value, grad = value_and_grad(spread_within_classes, proxies)
    assert value == pytest.approx(6 * np.sqrt(2 + 1e-5), rel=1e-6) and (grad == 0).all()
