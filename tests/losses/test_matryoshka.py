"""One loss of several lengths of an embedding."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.losses import Contrastive, Matryoshka, ProxyAnchor
from tests.losses.test_multiple import LABELS, number, unit_rows, value_of


def test_sees_the_first_entries_brought_to_length_1():
    x = unit_rows()
    found, _ = value_of(Matryoshka(Contrastive(), dims=[6, 2], weights=[1.0, 0.5]), x)
    short = x[:, :2] / np.linalg.norm(x[:, :2], axis=1, keepdims=True)
    expected = number(Contrastive()(LABELS, x)) + 0.5 * number(Contrastive()(LABELS, short))
    assert found == pytest.approx(expected, rel=1e-5)


def test_proxies_of_each_length():
    _, head = value_of(Matryoshka(ProxyAnchor(), dims=[6, 3]), unit_rows())
    assert [h.proxies.shape[-1] for h in head.heads] == [6, 3]


def test_saves_and_loads():
    loss = Matryoshka(ProxyAnchor(), dims=[6, 3])
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.lengths == [6, 3] and copy.weights == [1.0, 1.0]


def test_refuses_lengths_beyond_the_embedding():
    with pytest.raises(ValueError, match="at most the embedding's 6"):
        Matryoshka(Contrastive(), dims=[8]).head(None, 6)
    with pytest.raises(ValueError, match="positive"):
        Matryoshka(Contrastive(), dims=[0])


def test_the_gradient_of_a_short_length_reaches_only_its_entries():
    from tests.backend import value_and_grad

    loss = Matryoshka(Contrastive(), dims=[2])
    head = loss.head(None, 6)
    head.build((None, 6))
    _, grad = value_and_grad(lambda x: loss(LABELS, head(x, ops.array(LABELS))), unit_rows())
    assert np.abs(grad[:, :2]).max() > 0 and (grad[:, 2:] == 0).all()
