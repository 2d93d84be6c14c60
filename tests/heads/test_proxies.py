"""Cosines to learned proxies."""

import keras
import numpy as np
import pytest

from dml.heads import ProxyHead
from tests.backend import value_and_grad


def head(**options):
    keras.utils.set_random_seed(0)
    layer = ProxyHead(**{"classes": 4, "embedding_dim": 3, **options})
    layer.build((None, 3))
    return layer


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_gives_cosines_whatever_the_proxies_length():
    layer = head()
    proxies = np.random.default_rng(0).normal(size=(4, 1, 3))
    layer.proxies.assign(7.0 * proxies)
    x = unit(np.random.default_rng(1).normal(size=(5, 3))).astype("float32")
    cosines = keras.ops.convert_to_numpy(layer(x))
    np.testing.assert_allclose(cosines, x @ unit(proxies[:, 0]).T, atol=1e-6)


def test_several_proxies_per_class_keep_their_class():
    layer = head(proxies_per_class=2)
    x = unit(np.ones((1, 3))).astype("float32")
    cosines = keras.ops.convert_to_numpy(layer(x))
    proxies = unit(keras.ops.convert_to_numpy(layer.proxies))
    assert cosines.shape == (1, 4, 2)
    np.testing.assert_allclose(cosines[0], proxies @ x[0], atol=1e-6)


def test_a_zero_proxy_is_safe():
    layer = head()
    layer.proxies.assign(np.zeros((4, 1, 3)))
    value, grad = value_and_grad(lambda x: keras.ops.sum(layer(x)), unit(np.ones((2, 3))))
    assert value == 0 and np.isfinite(grad).all()


def test_proxies_too_small_or_large_to_square_in_float32_keep_their_direction():
    layer = head()
    proxies = np.random.default_rng(0).normal(size=(4, 1, 3))
    for size in (1e-30, 1e30):
        layer.proxies.assign(size * proxies)
        found = keras.ops.convert_to_numpy(layer.unit_proxies())
        np.testing.assert_allclose(found, unit(proxies), rtol=1e-5)


def test_initial_length():
    long = head(classes=500, embedding_dim=64, initial_length=1.0)
    lengths = np.linalg.norm(keras.ops.convert_to_numpy(long.proxies)[:, 0], axis=1)
    assert lengths.mean() == pytest.approx(1, abs=0.05)
    default = keras.ops.convert_to_numpy(head(classes=500, embedding_dim=64).proxies)
    assert default.std() == pytest.approx((2 / 500) ** 0.5, rel=0.05)


def test_stays_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = head()
        cosines = layer(keras.ops.cast(unit(np.ones((1, 3))), "float32"))
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(cosines.dtype) == "float32"


def test_saves_and_loads():
    layer = head(proxies_per_class=2, initial_length=1.0)
    copy = ProxyHead.from_config(layer.get_config())
    copy.build((None, 3))
    copy.set_weights(layer.get_weights())
    x = unit(np.ones((2, 3))).astype("float32")
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(copy(x)), keras.ops.convert_to_numpy(layer(x))
    )


def test_refuses_counts_that_are_not_positive():
    with pytest.raises(ValueError, match="classes"):
        ProxyHead(0, 3)
