"""Tests specific to the triplet loss; tests/losses/test_contract.py has the rest."""

import keras
import numpy as np
import pytest

from dml.losses import Triplet
from tests.losses import reference

# On a line: class 0 at 0 and 1, class 1 at 1.1 and 3.
X = np.array([[0.0], [1.0], [1.1], [3.0]])
LABELS = np.array([0, 0, 1, 1])


def test_by_hand():
    # Anchor 0: d(p) 1, d(n) 1.1, 3. Anchor 1: 1; 0.1, 2. Anchor 2: 1.9; 1.1, 0.1.
    # Anchor 3: 1.9; 3, 2. With margin 0.2 the hinges are 0.1 | 1.1 | 1.0, 2.0 | 0.1.
    options = {"margin": 0.2, "distance": "euclidean"}
    every = Triplet(mining="all", **options)(LABELS, X)
    assert float(every) == pytest.approx((0.1 + 1.1 + 1.0 + 2.0 + 0.1) / 5, abs=1e-6)
    semi_hard = Triplet(mining="semi_hard", **options)(LABELS, X)
    assert float(semi_hard) == pytest.approx((0.1 + 0.1) / 2, abs=1e-6)
    hard = Triplet(mining="hard", **options)(LABELS, X)
    assert float(hard) == pytest.approx((0.1 + 1.1 + 2.0 + 0.1) / 4, abs=1e-6)
    soft = Triplet(mining="hard", soft_margin=True, **options)(LABELS, X)
    gaps = np.array([-0.1, 0.9, 1.8, -0.1])
    assert float(soft) == pytest.approx(np.log1p(np.exp(gaps)).mean(), abs=1e-6)


def test_active_share_by_hand():
    def share(mining):
        loss = Triplet(margin=0.2, mining=mining, distance="euclidean")
        return float(loss.active_share(LABELS, keras.ops.cast(X, "float32")))

    assert share("all") == pytest.approx(5 / 8)
    assert share("semi_hard") == pytest.approx(2 / 8)
    assert share("hard") == pytest.approx(4 / 4)


@pytest.mark.parametrize("mining", ["all", "semi_hard"])
def test_exact_over_every_triplet_of_a_larger_batch(mining):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 6, 40)
    x = rng.normal(size=(40, 4))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    x[7] = x[3]  # a duplicate, of whatever class
    loss = Triplet(mining=mining)
    expected = reference.triplet(labels, x, 0.2, mining, "squared", False)
    assert float(loss(labels, x)) == pytest.approx(expected, rel=1e-5)


def test_a_collapsed_batch_costs_the_margin():
    x = np.ones((4, 3)) / np.sqrt(3)
    assert float(Triplet(mining="hard")(LABELS, x)) == pytest.approx(0.2, abs=1e-5)
    assert float(Triplet(mining="semi_hard")(LABELS, x)) == 0  # nothing is farther: no triplet


@pytest.mark.parametrize(
    "options",
    [{"margin": -0.1}, {"mining": "easy"}, {"distance": "manhattan"}, {"soft_margin": True}],
)
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Triplet(**options)
