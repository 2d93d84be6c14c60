"""The two forms of softmax over pairs, worked by hand."""

import numpy as np
import pytest
from keras import ops

from dml.losses._pair_softmax import own_against_rest, pairs_against_negatives

# Two anchors: log 1, log 2, log 3 to the first; the second has no positive.
LOGITS = np.log([[1.0, 2.0, 3.0], [1.0, 1.0, 1.0]]).astype("float32")
POSITIVE = np.array([[True, True, False], [False, False, False]])
NEGATIVE = np.array([[False, False, True], [True, True, True]])


def number(function):
    return float(ops.convert_to_numpy(function(ops.convert_to_tensor(LOGITS), POSITIVE, NEGATIVE)))


def test_each_positive_against_the_negatives():
    # Of 1 and 2 against 3: shares 1/4 and 2/5.
    expected = -(np.log(1 / 4) + np.log(2 / 5)) / 2
    assert number(pairs_against_negatives) == pytest.approx(expected, rel=1e-5)


def test_all_positives_together_against_the_rest():
    assert number(own_against_rest) == pytest.approx(-np.log(3 / 6), rel=1e-5)
