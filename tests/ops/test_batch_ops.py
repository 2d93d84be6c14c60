"""Where the obvious formulas overflow, or have no finite gradient."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from dml.losses import MultiSimilarity
from dml.ops import batch_ops
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences


def array(x):
    return ops.convert_to_numpy(x)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's retracing")
def test_labels_of_other_axes_than_before_want_another_compilation():
    x, labels = np.eye(6, dtype="float32"), np.arange(6) % 3
    layers = [keras.Input((6,)), keras.layers.Dense(4), keras.layers.UnitNormalization()]
    model = keras.Sequential(layers)
    model.compile("sgd", loss=MultiSimilarity())
    with pytest.raises(tf.errors.InvalidArgumentError, match="pass np"):
        model.fit(x, np.eye(3, dtype=int)[labels], batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="compile"):
        model.fit(x, labels, batch_size=4, verbose=0)
    model.compile("sgd", loss=MultiSimilarity())
    assert np.isfinite(model.fit(x, labels, batch_size=4, verbose=0).history["loss"]).all()


def test_log1p_sum_exp_by_hand():
    x = np.array([[0.0, 1.0, 50.0]], "float32")
    where = np.array([[True, True, False]])
    found = array(batch_ops.log1p_sum_exp(ops.convert_to_tensor(x), where, axis=1))
    assert found[0] == pytest.approx(np.log(2 + np.e), rel=1e-6)


@pytest.mark.parametrize("size", [1e4, -1e4])
def test_log1p_sum_exp_of_extreme_values(size):
    where = np.array([[True, True, True]])
    value, grad = value_and_grad(
        lambda x: ops.sum(batch_ops.log1p_sum_exp(x, where, axis=1)), np.full((1, 3), size)
    )
    assert value == pytest.approx(max(size, 0) + (np.log(3) if size > 88 else 0), rel=1e-6)
    np.testing.assert_allclose(grad, np.full((1, 3), 1 / 3 if size > 0 else 0.0), atol=1e-4)


def test_log1p_sum_exp_over_nothing():
    nowhere = np.zeros((1, 3), bool)
    value, grad = value_and_grad(
        lambda x: ops.sum(batch_ops.log1p_sum_exp(x, nowhere, axis=1)), np.full((1, 3), 1e30)
    )
    assert value == 0 and (grad == 0).all()


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30])
def test_unit_length_of_any_size(size):
    x = np.array([[3.0, 4.0]])
    found = array(batch_ops.unit_length(ops.cast(size * x, "float32")))
    np.testing.assert_allclose(found, [[0.6, 0.8]], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-42, 1e-40, 1e-36, 1e-30, 1e30])
def test_unit_length_has_a_finite_gradient_at_any_size(size):
    weights = ops.cast([[3.0, -1.0, 2.0]], "float32")
    x = size * np.array([[1.0, 2.0, -2.0]])
    value, grad = value_and_grad(lambda x: ops.sum(weights * batch_ops.unit_length(x)), x)
    expected = (3 - 2 - 4) / 3 if size > 1e-34 else 0.0
    assert value == pytest.approx(expected, rel=1e-5) and np.isfinite(grad).all()


def test_spread_of_long_proxies_is_finite():
    proxies = np.random.default_rng(0).normal(size=(2, 3, 4))
    for size in (1e18, 1e20, 1e37):
        value, grad = value_and_grad(batch_ops.spread_within_classes, size * proxies)
        assert np.isfinite(value) and np.isfinite(grad).all()


def test_unit_length_of_zero():
    value, grad = value_and_grad(lambda x: ops.sum(batch_ops.unit_length(x)), np.zeros((2, 3)))
    assert value == 0 and (grad == 0).all()


def test_unit_length_agrees_with_finite_differences():
    x = np.random.default_rng(0).normal(size=(2, 4))
    weights = np.random.default_rng(1).normal(size=(2, 4))

    def exact(x):
        return (weights * x / np.linalg.norm(x, axis=1, keepdims=True)).sum()

    _, grad = value_and_grad(
        lambda x: ops.sum(ops.cast(weights, "float32") * batch_ops.unit_length(x)), x
    )
    np.testing.assert_allclose(grad, finite_differences(exact, x), rtol=1e-3, atol=1e-5)


def test_pairs_by_hand():
    positive, negative = batch_ops.pair_masks(ops.convert_to_tensor(np.array([5, 7, 5])))
    assert array(positive).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert array(negative).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


@pytest.mark.parametrize("compiled", [False, True])
def test_cosines_agree_with_finite_differences_on_both_sides(compiled):
    both = np.random.default_rng(0).normal(size=(5, 4))  # 2 embeddings, 3 rows
    weights = np.random.default_rng(1).normal(size=(2, 3))

    def exact(x):
        return (weights * (x[:2] @ x[2:].T) / np.linalg.norm(x[2:], axis=1)).sum()

    def weighed(x):
        return ops.sum(ops.cast(weights, "float32") * batch_ops.cosines_to(x[:2], x[2:]))

    value, grad = value_and_grad(weighed, both, compiled=compiled)
    assert value == pytest.approx(exact(both), rel=1e-5)
    np.testing.assert_allclose(grad, finite_differences(exact, both), rtol=1e-3, atol=1e-5)


def test_cosines_to_nothing_are_0():
    value, grad = value_and_grad(
        lambda x: ops.sum(batch_ops.cosines_to(ops.ones((1, 3)), x)), np.zeros((2, 3))
    )
    assert value == 0 and (grad == 0).all()


@pytest.mark.parametrize("compiled", [False, True])
def test_products_within_agree_with_finite_differences(compiled):
    x = np.random.default_rng(0).normal(size=(4, 3))
    weights = np.random.default_rng(1).normal(size=(4, 4))  # not symmetric

    def weighed(x):
        return ops.sum(ops.cast(weights, "float32") * batch_ops.products(x, x))

    value, grad = value_and_grad(weighed, x, compiled=compiled)
    assert value == pytest.approx((weights * (x @ x.T)).sum(), rel=1e-5)
    exact = finite_differences(lambda x: (weights * (x @ x.T)).sum(), x)
    np.testing.assert_allclose(grad, exact, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("length", [1.0, 30.0])
def test_spread_is_that_of_directions_whatever_the_lengths(length):
    rng = np.random.default_rng(0)
    proxies = length * rng.normal(size=(2, 3, 4)).astype("float32")
    value, grad = value_and_grad(batch_ops.spread_within_classes, proxies)
    expected, at_unit = value_and_grad(
        lambda p: batch_ops.spread_within_classes(batch_ops.unit_length(p)), proxies
    )
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(grad, at_unit, atol=1e-4 / length)


def test_spread_of_a_zero_centre_is_finite():
    value, grad = value_and_grad(batch_ops.spread_within_classes, np.zeros((2, 3, 4)))
    assert np.isfinite(value) and (grad == 0).all()
