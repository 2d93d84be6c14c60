"""Distances against loops over pairs of rows, and where their gradients are not finite."""

import numpy as np
import pytest
from keras import ops

from dml.distances import DISTANCES, check_distance
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences
from tests.losses import reference_pairs


def rows(count, seed):
    x = np.random.default_rng(seed).normal(size=(count, 5))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("name", DISTANCES)
def test_agrees_with_loops(name):
    x, y = rows(4, 0), rows(3, 1)
    found = DISTANCES[name](ops.cast(x, "float32"), ops.cast(y, "float32"))
    expected = [[reference_pairs.distance(a, b, name) for b in y] for a in x]
    np.testing.assert_allclose(ops.convert_to_numpy(found), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", DISTANCES)
def test_gradient_agrees_with_finite_differences(name):
    x, y = rows(4, 0), rows(3, 1)
    _, grad = value_and_grad(lambda x: ops.sum(DISTANCES[name](x, ops.cast(y, "float32"))), x)

    def exact(x):
        return sum(reference_pairs.distance(a, b, name) for a in x for b in y)

    np.testing.assert_allclose(grad, finite_differences(exact, x), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", DISTANCES)
@pytest.mark.parametrize("x", [np.zeros((3, 5)), np.ones((3, 5)) / np.sqrt(5)])
def test_finite_where_rows_coincide(name, x):
    value, grad = value_and_grad(lambda x: ops.sum(DISTANCES[name](x, x)), x)
    assert np.isfinite(value) and np.isfinite(grad).all()


def test_euclidean_of_duplicates_is_zero_with_gradient_zero():
    value, grad = value_and_grad(
        lambda x: ops.sum(DISTANCES["euclidean"](x, x)), np.ones((3, 4)) / 2
    )
    assert value == 0 and (grad == 0).all()


def test_long_rows_stay_inside_the_ball():
    x = ops.cast(np.array([[100.0, 0.0], [0.0, 100.0]]), "float32")
    far = ops.convert_to_numpy(DISTANCES["poincare"](x, x))
    assert np.isfinite(far).all() and far[0, 1] > 5


def test_unknown_name():
    with pytest.raises(ValueError, match="distance must be one of cosine"):
        check_distance("manhattan")
