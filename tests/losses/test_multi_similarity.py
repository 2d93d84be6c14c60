"""Tests specific to Multi-Similarity; tests/losses/test_contract.py has the rest."""

import keras
import numpy as np
import pytest

from dml.losses import MultiSimilarity
from tests.backend import value_and_grad

# On a circle: two images of class 0 at 0 and 60 degrees, one of class 1 at 30.
ANGLES = np.radians([0, 60, 30])
EMBEDDINGS = np.stack([np.cos(ANGLES), np.sin(ANGLES)], axis=1)
LABELS = np.array([0, 0, 1])


def test_by_hand():
    # Both anchors of class 0 see a positive at cos 60 = 0.5 and a negative at cos 30 = 0.866.
    loss = MultiSimilarity(positive_scale=1.0, negative_scale=1.0, base=0.5)
    each = np.log(2) + np.log1p(np.exp(np.cos(np.pi / 6) - 0.5))
    assert float(loss(LABELS, EMBEDDINGS)) == pytest.approx(2 * each / 3, abs=1e-6)


def test_easy_pairs_are_left_out():
    # The positive is at similarity 1, the negative at 0: neither is within epsilon of the other.
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    labels = np.array([0, 0, 1, 1])
    value, grad = value_and_grad(lambda x: MultiSimilarity()(labels, x), x)
    assert value == 0 and np.abs(grad).max() == 0
    assert float(MultiSimilarity(epsilon=float("inf"))(labels, x)) > 0


def test_exact_duplicates_are_positives_not_self_pairs():
    # Cutting self-pairs by s < 1 - eps would leave the anchors of class 0 without a positive.
    x = np.array([[1.0, 0.0], [1.0, 0.0], [0.99, np.sqrt(1 - 0.99**2)]])
    assert float(MultiSimilarity()(LABELS, x)) > 0


def test_active_share_counts_the_pairs_that_are_kept():
    share = MultiSimilarity().active_share(LABELS, keras.ops.cast(EMBEDDINGS, "float32"))
    # Of 2 positive and 4 negative pairs (by anchor), the anchor of class 1 has no positive.
    assert float(share) == pytest.approx(4 / 6)


@pytest.mark.parametrize(
    "options", [{"positive_scale": 0.0}, {"negative_scale": 0.0}, {"base": 2.0}, {"epsilon": -1.0}]
)
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        MultiSimilarity(**options)
