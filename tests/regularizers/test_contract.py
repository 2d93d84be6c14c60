"""The contract of every regularizer in the registry."""

import dataclasses

import keras
import numpy as np
import pytest

from dml.regularizers import REGULARIZERS
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences
from tests.regularizers import reference

SHAPES = [(4, 1, 8), (4, 3, 8), (1, 1, 8), (20, 2, 4)]


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(params=sorted(REGULARIZERS))
def name(request):
    return request.param


@pytest.fixture
def part(name):
    return REGULARIZERS[name]()


def given(part, shape, seed=0):
    """Returns what the part acts on: proxies (C, K, D), or embeddings (B, D)."""
    x = unit(np.random.default_rng(seed).normal(size=shape))
    if part.acts_on == "head":  # gaps of triplets, for the batch and for what the head has learned
        return np.random.default_rng(seed).normal(size=(2, shape[0] * shape[1], 3))
    if part.acts_on == "raw_proxies":
        x = 1.5 * x + 0.3
    return x.reshape(-1, shape[-1]) if part.acts_on == "embeddings" else x


@pytest.mark.parametrize("shape", SHAPES)
def test_agrees_with_float64_reference(name, part, shape):
    x = given(part, shape)
    expected = getattr(reference, name)(x, **dataclasses.asdict(part))
    found = float(keras.ops.convert_to_numpy(part(keras.ops.cast(x, "float32"))))
    assert found == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("shape", [(4, 3, 8), (6, 1, 4)])
def test_gradient_agrees_with_finite_differences_of_the_reference(name, part, shape):
    x = given(part, shape, seed=1)
    _, grad = value_and_grad(part, x)
    options = dataclasses.asdict(part)
    difference = finite_differences(lambda x: getattr(reference, name)(x, **options), x)
    np.testing.assert_allclose(grad, difference, rtol=1e-3, atol=2e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_finite_at_degenerate_input(part, shape):
    x = given(part, shape)
    for at in (x, np.zeros_like(x), np.repeat(x[:1], len(x), axis=0), -x):
        value, grad = value_and_grad(part, at)
        assert np.isfinite(value) and np.isfinite(grad).all()


@pytest.mark.parametrize("size", [1e-42, 1e-40, 1e-20, 1e10, 1e18, 1e37])
def test_proxies_of_any_size_are_finite(part, size):
    if part.acts_on != "raw_proxies":
        pytest.skip("it acts on vectors of length 1")
    x = size * given(part, (4, 3, 8))
    value, grad = value_and_grad(part, x)
    assert np.isfinite(value) and np.isfinite(grad).all()
    if size == 1e37:
        assert value > 0 and (grad != 0).any()


def test_compiled_it_is_the_same(part):
    x = given(part, (4, 3, 8))
    value, grad = value_and_grad(part, x)
    compiled, compiled_grad = value_and_grad(part, x, compiled=True)
    assert compiled == pytest.approx(value, rel=1e-5, abs=1e-6)
    np.testing.assert_allclose(compiled_grad, grad, rtol=1e-3, atol=1e-6)


def test_order_does_not_matter(part):
    x = given(part, (5, 2, 8)).astype("float32")
    assert float(part(x[::-1].copy())) == pytest.approx(float(part(x)), rel=1e-5)


def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(REGULARIZERS[name]):
        assert f"{field.name}:" in REGULARIZERS[name].__doc__


def test_refuses_a_negative_weight(name):
    with pytest.raises(ValueError, match="weight"):
        REGULARIZERS[name](weight=-1.0)
