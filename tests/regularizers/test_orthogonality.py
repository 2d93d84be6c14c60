"""The mean squared cosine of proxies of different classes."""

import numpy as np
import pytest

from dml.regularizers import Orthogonality
from tests.backend import value_and_grad
from tests.finite_differences import finite_differences


def unit(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


def loops(proxies):
    classes, centres, _ = proxies.shape
    squares = [
        (proxies[i, k] @ proxies[j, t]) ** 2
        for i in range(classes)
        for j in range(classes)
        for k in range(centres)
        for t in range(centres)
        if i != j
    ]
    return np.mean(squares)


def test_by_hand():
    # Cosines 0.6 and 0.8 and 0: (0.36 + 0.64 + 0) / 3
    proxies = np.array([[[1.0, 0.0, 0.0]], [[0.6, 0.8, 0.0]], [[0.0, 1.0, 0.0]]])
    assert float(Orthogonality(1.0)(proxies)) == pytest.approx(1 / 3, abs=1e-6)


@pytest.mark.parametrize("centres", [1, 3])
def test_agrees_with_loops_over_pairs_of_classes(centres):
    proxies = unit(np.random.default_rng(0).normal(size=(5, centres, 16)))
    found = Orthogonality(2.0)(proxies.astype("float32"))
    assert float(found) == pytest.approx(2 * loops(proxies), rel=1e-4)


def test_gradient_agrees_with_finite_differences():
    proxies = unit(np.random.default_rng(0).normal(size=(3, 2, 4)))
    _, grad = value_and_grad(Orthogonality(1.0), proxies)
    np.testing.assert_allclose(grad, finite_differences(loops, proxies), rtol=1e-3, atol=1e-5)


def test_off_when_the_classes_outnumber_the_dimensions_unless_asked_for():
    proxies = unit(np.random.default_rng(0).normal(size=(9, 1, 4))).astype("float32")
    assert float(Orthogonality()(proxies)) == 0
    assert float(Orthogonality(crowded=True)(proxies)) > 0


def test_refuses_a_negative_weight():
    with pytest.raises(ValueError, match="weight"):
        Orthogonality(-1.0)
