"""Tests specific to ProxyNCA++; tests/losses/test_contract.py has the rest."""

import numpy as np
import pytest

from dml.losses import ProxyNCA, ProxyNCAPlusPlus

LABELS = np.array([0, 2])
COSINES = np.array([[0.5, 0.2, -0.1], [0.0, 0.3, 0.4]])


def test_by_hand():
    # Squared distances 1 and 1.6 at temperature 1: log(1 + e^-0.6)
    value = ProxyNCAPlusPlus(temperature=1.0)(np.array([0]), np.array([[0.5, 0.2]]))
    assert float(value) == pytest.approx(np.log1p(np.exp(-0.6)), abs=1e-6)


def test_is_proxy_nca_with_the_positive_in_the_denominator():
    same = ProxyNCA(scale=9.0, positive_in_denominator=True)
    assert float(ProxyNCAPlusPlus()(LABELS, COSINES)) == pytest.approx(
        float(same(LABELS, COSINES)), rel=1e-5
    )


def test_refuses_a_temperature_that_is_not_positive():
    with pytest.raises(ValueError, match="temperature"):
        ProxyNCAPlusPlus(temperature=0.0)
