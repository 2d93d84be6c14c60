"""Tests specific to Proxy Anchor; tests/losses/test_contract.py has the rest."""

import numpy as np
import pytest

from dml.errors import OptionError
from dml.losses import ProxyAnchor
from tests.backend import value_and_grad


def test_by_hand():
    # One image of class 0, two proxies: log(1 + e^(-2(0.5 - 0.1))) + log(1 + e^(2(0.2 + 0.1))) / 2
    loss = ProxyAnchor(margin=0.1, scale=2.0)([0], np.array([[0.5, 0.2]]))
    assert float(loss) == pytest.approx(0.8898, abs=1e-4)


@pytest.mark.parametrize("label", [-1, 2])
def test_an_image_of_a_class_without_a_proxy_pulls_none(label):
    cosines = np.array([[0.5, 0.2], [0.3, 0.1]])
    loss = ProxyAnchor(margin=0.1, scale=2.0)
    value, grad = value_and_grad(lambda s: loss(np.array([label, 0]), s), cosines)
    # Proxy 0 pulls the second image and pushes the first, proxy 1 pushes both.
    pull = np.log(1 + np.exp(-2 * (0.3 - 0.1)))
    push = [np.exp(2 * (0.5 + 0.1)), np.exp(2 * (0.2 + 0.1)) + np.exp(2 * (0.1 + 0.1))]
    assert value == pytest.approx(pull + np.mean(np.log1p(push)), rel=1e-5)
    assert (grad[0] > 0).all()


def test_pulls_its_own_proxy_and_pushes_the_others():
    labels, cosines = np.array([0, 1]), np.array([[0.5, 0.2, 0.1], [0.3, 0.4, 0.0]])
    _, grad = value_and_grad(lambda s: ProxyAnchor()(labels, s), cosines)
    own = np.array([[1, 0, 0], [0, 1, 0]], bool)
    assert (grad[own] < 0).all() and (grad[~own] > 0).all()


def test_the_hardest_image_of_a_class_gets_the_largest_pull():
    labels, cosines = np.array([0, 0, 0]), np.array([[0.9], [0.5], [0.1]])
    _, grad = value_and_grad(lambda s: ProxyAnchor()(labels, s), cosines)
    assert grad[2, 0] < grad[1, 0] < grad[0, 0] < 0


@pytest.mark.parametrize("options", [{"margin": -0.1}, {"margin": 1.1}, {"scale": 0.0}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(OptionError) as error:
        ProxyAnchor(**options)
    assert [error.value.option] == list(options)
