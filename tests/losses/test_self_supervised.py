"""Two views as a class."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.losses import CrossBatchMemory, NTXent, ProxyAnchor, SelfSupervised, VICReg


def unit_rows(rows=6, dim=4):
    x = np.random.default_rng(0).normal(size=(rows, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


@pytest.mark.parametrize("loss", [NTXent(), VICReg()])
def test_the_second_half_holds_the_other_views(loss):
    x = unit_rows()
    expected = number(loss(np.array([0, 1, 2, 0, 1, 2]), x))
    assert number(SelfSupervised(loss)(np.zeros(6), x)) == pytest.approx(expected, rel=1e-6)


def test_the_learner_has_to_make_two_views():
    assert SelfSupervised(NTXent()).views == 2 and NTXent().views == 1


def test_saves_and_loads():
    loss = SelfSupervised(NTXent(temperature=0.3))
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.loss.temperature == 0.3


@pytest.mark.parametrize("loss", [ProxyAnchor(), CrossBatchMemory(NTXent(), size=4)])
def test_refuses_what_needs_classes(loss):
    with pytest.raises(ValueError, match="without labels there are none"):
        SelfSupervised(loss)
