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


@pytest.mark.parametrize("inside", [False, True])
def test_a_single_class_has_no_rival(inside):
    loss = ProxyNCA(positive_in_denominator=inside, label_smoothing=0.1)
    value, grad = value_and_grad(lambda s: loss(LABELS, s), np.array([[0.3]]))
    assert value == 0 and grad.tolist() == [[0]]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("inside", [False, True])
def test_an_image_of_no_class_has_no_loss(inside, smoothing):
    loss = ProxyNCA(positive_in_denominator=inside, label_smoothing=smoothing)
    cosines = np.array([[0.5, 0.2, -0.1], [0.3, 0.1, 0.4]])
    value, grad = value_and_grad(lambda s: loss(np.array([[0.0] * 3, [0, 1, 0]]), s), cosines)
    alone = float(loss(np.array([1]), cosines[1:]))
    assert value == pytest.approx(alone / 2, rel=1e-5) and grad[0].tolist() == [0, 0, 0]


def test_an_image_of_all_classes():
    labels, cosines = np.ones((1, 3)), np.array([[0.5, 0.2, -0.1]])
    value, grad = value_and_grad(lambda s: ProxyNCA()(labels, s), cosines)
    assert value == 0 and grad.tolist() == [[0, 0, 0]]
    for smoothing in (0.0, 0.1):  # there is no other class that could have a share of the target
        loss = ProxyNCA(scale=1.0, positive_in_denominator=True, label_smoothing=smoothing)
        everyone = np.exp(-1) + np.exp(-1.6) + np.exp(-2.2)
        expected = np.log(everyone) + (1 + 1.6 + 2.2) / 3
        assert float(loss(labels, cosines)) == pytest.approx(expected, rel=1e-5)


def test_the_shares_of_the_target_add_up_to_1_with_two_own_classes():
    loss = ProxyNCA(scale=1.0, positive_in_denominator=True, label_smoothing=0.2)
    # Exponents -1, -1.6, -2.2; shares 0.4, 0.4 and, of the only other one, 0.2.
    everyone = np.exp(-1) + np.exp(-1.6) + np.exp(-2.2)
    expected = np.log(everyone) + 0.4 * 1 + 0.4 * 1.6 + 0.2 * 2.2
    found = float(loss(np.array([[1.0, 1.0, 0.0]]), COSINES))
    assert found == pytest.approx(expected, rel=1e-5)


def test_does_not_underflow_where_the_own_proxy_is_far():
    # exp(-400) is 0 in float32: code that takes the logarithm afterwards drops such images.
    loss = ProxyNCA(scale=100.0, positive_in_denominator=True)
    value, grad = value_and_grad(lambda s: loss(LABELS, s), np.array([[-1.0, 1.0]]))
    assert value == pytest.approx(400) and grad[0, 0] == pytest.approx(-200)


@pytest.mark.parametrize("options", [{"scale": 0.0}, {"label_smoothing": 1.0}, {"form": "dot"}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        ProxyNCA(**options)
