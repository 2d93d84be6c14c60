"""Tests specific to Proxy-NCA; tests/losses/test_contract.py has the rest."""

import numpy as np
import pytest

from dml.losses import ProxyNCA
from tests.backend import value_and_grad

LABELS, COSINES = np.array([0]), np.array([[0.5, 0.2, -0.1]])


def test_by_hand():
    # Exponents 2s - 2: -1, -1.6, -2.2; the own one is not in the sum.
    paper = ProxyNCA(scale=1.0)(LABELS, COSINES)
    assert float(paper) == pytest.approx(1 + np.log(np.exp(-1.6) + np.exp(-2.2)), abs=1e-6)
    code = ProxyNCA(scale=1.0, positive_in_denominator=True)(LABELS, COSINES)
    everyone = np.exp(-1) + np.exp(-1.6) + np.exp(-2.2)
    assert float(code) == pytest.approx(1 + np.log(everyone), abs=1e-6)


def test_without_the_positive_the_pull_never_rests():
    def pull(similarity, **options):
        cosines = np.array([[similarity, -0.5]])
        return value_and_grad(lambda s: ProxyNCA(**options)(LABELS, s), cosines)[1][0, 0]

    assert pull(0.99) == pytest.approx(pull(0.1)) == pytest.approx(-18)
    assert abs(pull(0.99, positive_in_denominator=True)) < 1e-3


def test_squared_distance_on_the_sphere_is_twice_the_cosine():
    a = ProxyNCA(scale=9.0)(LABELS, COSINES)
    b = ProxyNCA(scale=18.0, form="cosine")(LABELS, COSINES)
    assert float(a) == pytest.approx(float(b), rel=1e-6)


def test_a_single_class_has_no_rival():
    value, grad = value_and_grad(lambda s: ProxyNCA()(LABELS, s), np.array([[0.3]]))
    # Scale times the squared distance, 9 (2 - 2 * 0.3), falls by 18 for each unit of cosine.
    assert value == pytest.approx(12.6) and grad.tolist() == [[-18]]


def test_does_not_underflow_where_the_own_proxy_is_far():
    # exp(-400) is 0 in float32: code that takes the logarithm afterwards drops such images.
    loss = ProxyNCA(scale=100.0, positive_in_denominator=True)
    value, grad = value_and_grad(lambda s: loss(LABELS, s), np.array([[-1.0, 1.0]]))
    assert value == pytest.approx(400) and grad[0, 0] == pytest.approx(-200)


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"label_smoothing": 1.0}, {"form": "dot"}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ProxyNCA(**options)
