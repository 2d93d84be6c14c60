"""Reductions of the losses of all anchors to one number."""

import numpy as np
import pytest
from keras import ops

from dml.reductions import REDUCTIONS, ClassWeighted, NonZero, PerAnchor

VALUES = np.array([0.0, 2.0, 1.0, 3.0], "float32")
SAME = np.array([1.0, 3.0, 3.0, 3.0], "float32")  # one class of one, and one of three


@pytest.mark.parametrize(
    "part, expected", [(PerAnchor(), 1.5), (NonZero(), 2.0), (ClassWeighted(), 1.0)]
)
def test_by_hand(part, expected):
    assert float(part(ops.array(VALUES), ops.array(SAME))) == pytest.approx(expected)


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
def test_nothing_costs_nothing(name):
    zero = ops.zeros(4)
    assert float(ops.convert_to_numpy(REDUCTIONS[name]()(zero, ops.array(SAME)))) == 0.0


@pytest.mark.parametrize("name", sorted(REDUCTIONS))
def test_has_a_docstring(name):
    assert len(REDUCTIONS[name].__doc__.split()) > 10
