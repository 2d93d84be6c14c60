"""What every regularizer must do."""

import dataclasses

import numpy as np
import pytest

from dml.regularizers import REGULARIZERS
from tests.backend import value_and_grad


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


@pytest.fixture(params=sorted(REGULARIZERS))
def part(request):
    return REGULARIZERS[request.param]()


@pytest.mark.parametrize("shape", [(4, 1, 8), (4, 3, 8), (1, 1, 8), (20, 2, 4)])
def test_finite_scalar(part, shape):
    proxies = unit(np.random.default_rng(0).normal(size=shape))
    for x in (proxies, np.zeros(shape), np.repeat(proxies[:1], shape[0], axis=0)):
        value, grad = value_and_grad(part, x)
        assert np.isfinite(value) and value >= 0 and np.isfinite(grad).all()


def test_names_of_classes_do_not_matter(part):
    proxies = unit(np.random.default_rng(0).normal(size=(5, 2, 8))).astype("float32")
    assert float(part(proxies[::-1].copy())) == pytest.approx(float(part(proxies)), rel=1e-5)


@pytest.mark.parametrize("name", sorted(REGULARIZERS))
def test_has_a_docstring_that_names_every_option(name):
    for field in dataclasses.fields(REGULARIZERS[name]):
        assert f"{field.name}:" in REGULARIZERS[name].__doc__
