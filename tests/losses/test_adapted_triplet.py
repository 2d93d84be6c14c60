"""Tests specific to the adapted triplet; tests/losses/test_contract.py has the rest."""

import keras
import numpy as np
import pytest

from dml.losses import AdaptedTriplet, Triplet
from dml.losses.adapted_triplet import _selection_bias
from tests.backend import value_and_grad

X = np.array([[0.0, 1.0], [1.0, 0.0], [0.6, 0.8], [0.8, 0.6]])
LABELS = np.array([0, 0, 1, 1])


def bias(labels, selected, x):
    x = keras.ops.cast(x, "float32")
    gram = keras.ops.matmul(x, keras.ops.transpose(x))
    selected = keras.ops.cast(np.asarray(selected), "float32")
    return float(_selection_bias(keras.ops.convert_to_tensor(labels), selected, gram))


def test_by_hand():
    # Class 0: selected 3 and 1 times, mean (0.25, 0.75) against (0.5, 0.5): 2 x 0.25^2. Class 1,
    # selected evenly, has no bias.
    assert bias(LABELS, [3, 1, 2, 2], X) == pytest.approx((2 * 0.25**2 + 0) / 2, abs=1e-6)


def test_classes_that_were_not_selected_do_not_count():
    assert bias(LABELS, [3, 1, 0, 0], X) == pytest.approx(2 * 0.25**2, abs=1e-6)
    assert bias(LABELS, [0, 0, 0, 0], X) == 0


def test_weight_0_is_the_triplet_loss():
    plain, adapted = Triplet(mining="hard"), AdaptedTriplet(mining="hard", weight=0.0)
    assert float(adapted(LABELS, X)) == float(plain(LABELS, X))


def test_the_bias_term_has_a_gradient():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 4))
    labels = np.repeat([0, 1, 2], 3)

    def gradient(weight):
        loss = AdaptedTriplet(mining="hard", weight=weight)
        return value_and_grad(lambda x: loss(labels, x), x)[1]

    assert np.abs(gradient(1.0) - gradient(0.0)).max() > 1e-3


@pytest.mark.parametrize("options", [{"weight": -1.0}, {"kernel": "cubic"}, {"bandwidth": 0.0}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        AdaptedTriplet(**options)
