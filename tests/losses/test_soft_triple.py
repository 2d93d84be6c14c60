"""Tests specific to SoftTriple; tests/losses/test_contract.py has the rest."""

import keras
import numpy as np
import pytest

from dml.losses import SoftTriple
from tests.backend import value_and_grad
from tests.losses import reference


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def test_by_hand():
    # Class 0 has centres at cosine 0.8 and 0.2: a softmax of 0.8 and 0.2 weighs them.
    cosines = np.array([[[0.8, 0.2], [0.1, 0.1]]])
    weight = np.exp(0.8) / (np.exp(0.8) + np.exp(0.2))
    score = weight * 0.8 + (1 - weight) * 0.2
    loss = SoftTriple(scale=2.0, temperature=1.0, margin=0.1, proxies_per_class=2)
    expected = np.log1p(np.exp(2 * 0.1 - 2 * (score - 0.1)))
    assert float(loss(np.array([0]), cosines)) == pytest.approx(expected, abs=1e-6)


def test_the_nearest_centre_gets_the_largest_pull():
    cosines = np.array([[[0.8, 0.2], [0.1, 0.1]]])
    _, grad = value_and_grad(lambda s: SoftTriple(proxies_per_class=2)(np.array([0]), s), cosines)
    assert grad[0, 0, 0] < 10 * grad[0, 0, 1] < 0 or grad[0, 0, 1] > 0 > grad[0, 0, 0]


def penalty(loss, proxies):
    return loss.proxy_penalty(keras.ops.cast(proxies, "float32"))


def test_penalty_agrees_with_loops_over_classes_and_pairs():
    proxies = unit(np.random.default_rng(0).normal(size=(4, 3, 5)))
    loss = SoftTriple(proxies_per_class=3)
    expected = reference.soft_triple_penalty(proxies, 0.2)
    assert float(penalty(loss, proxies)) == pytest.approx(expected, rel=1e-5)


def test_penalty_draws_centres_together_and_is_finite_where_they_coincide():
    loss = SoftTriple(proxies_per_class=2)
    same = np.repeat(unit(np.ones((3, 1, 4))), 2, axis=1)
    value, grad = value_and_grad(loss.proxy_penalty, same)
    assert np.abs(grad).max() < 1e-4 and value == pytest.approx(0.1 * np.sqrt(1e-5), rel=0.1)
    apart = unit(np.array([[[1.0, 0.1], [0.1, 1.0]]]))
    _, grad = value_and_grad(loss.proxy_penalty, apart)
    nearer = unit(apart - 0.01 * grad)
    assert nearer[0, 0] @ nearer[0, 1] > apart[0, 0] @ apart[0, 1]


def test_one_centre_has_no_penalty():
    assert SoftTriple(proxies_per_class=1).proxy_penalty(np.ones((3, 1, 4))) is None


@pytest.mark.parametrize(
    "options",
    [{"scale": 0.0}, {"temperature": 0.0}, {"margin": -0.1}, {"proxies_per_class": 0}],
)
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        SoftTriple(**options)
