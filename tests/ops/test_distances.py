"""Distances against loops over pairs of rows, and where their gradients are not finite."""

import numpy as np
import pytest
from keras import ops

from dml.ops import DISTANCES, check_distance
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


@pytest.mark.parametrize("name", sorted(set(DISTANCES) - {"dot"}))
@pytest.mark.parametrize("dim", [3, 256, 2048])
def test_equal_rows_are_at_exactly_zero(name, dim):
    rng = np.random.default_rng(dim)
    for count, kind in ((7, rng.random), (131, rng.normal)):
        x = kind(size=(count, dim))
        x = ops.cast(x / np.linalg.norm(x, axis=1, keepdims=True), "float32")
        which, others = (rng.integers(0, count, size) for size in (2 * count, count + 1))
        several = ops.take(x, which, axis=0)
        within = ops.convert_to_numpy(DISTANCES[name](several, several))
        assert ((within == 0) == (which[:, None] == which)).all()
        between = ops.convert_to_numpy(DISTANCES[name](several, ops.take(x, others, axis=0)))
        assert ((between == 0) == (which[:, None] == others)).all()


@pytest.mark.parametrize("name", sorted(set(DISTANCES) - {"dot", "cosine"}))
def test_rows_of_any_length_are_distinguished(name):
    lengths = np.array([1e-2, 1.0, 30.0])[:, None]
    x, y = rows(3, 0) * lengths, rows(3, 1) * lengths
    found = ops.convert_to_numpy(DISTANCES[name](ops.cast(x, "float32"), ops.cast(y, "float32")))
    expected = [[reference_pairs.distance(a, b, name) for b in y] for a in x]
    np.testing.assert_allclose(found, expected, rtol=1e-3)


@pytest.mark.parametrize("name", DISTANCES)
def test_what_is_not_a_number_does_not_become_zero(name):
    x = ops.cast([[1.0, 0.0], [float("nan"), 1.0]], "float32")
    for y in (x, x + 0.0):
        found = ops.convert_to_numpy(DISTANCES[name](x, y))
        assert np.isnan(found[0, 1]) and np.isnan(found[1]).all()


def test_long_rows_stay_inside_the_ball():
    x = ops.cast(np.array([[100.0, 0.0], [0.0, 100.0]]), "float32")
    far = ops.convert_to_numpy(DISTANCES["poincare"](x, x))
    assert np.isfinite(far).all() and far[0, 1] > 5


def test_unknown_name():
    with pytest.raises(ValueError, match="distance must be one of cosine"):
        check_distance("manhattan")
