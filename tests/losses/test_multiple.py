"""Sums of losses, and losses of an embedding's first entries."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.losses import (
    LOSSES,
    Contrastive,
    MultipleLosses,
    MultiSimilarity,
    ProxyAnchor,
    SoftTriple,
)

LABELS = np.array([0, 0, 1, 2])


def unit_rows(rows=4, dim=6):
    x = np.random.default_rng(0).normal(size=(rows, dim))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype("float32")


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


def value_of(loss, x):
    head = loss.head(3, x.shape[1])
    head.build((None, x.shape[1]))
    return number(loss(LABELS, head(ops.array(x), ops.array(LABELS)))), head


def test_adds_up_its_parts():
    x = unit_rows()
    parts = [Contrastive(), MultiSimilarity()]
    found, _ = value_of(MultipleLosses(parts, [1.0, 0.5]), x)
    expected = number(parts[0](LABELS, x)) + 0.5 * number(parts[1](LABELS, x))
    assert found == pytest.approx(expected, rel=1e-5)


def test_each_part_has_its_own_head_and_penalty():
    loss = MultipleLosses([ProxyAnchor(), SoftTriple(proxies_per_class=2), Contrastive()])
    x = unit_rows()
    value, head = value_of(loss, x)
    labels = ops.array(LABELS)
    each = [
        part(labels, h(ops.array(x)) if h else x)
        for part, h in zip(loss.parts, head.heads, strict=True)
    ]
    assert value == pytest.approx(sum(number(part) for part in each), rel=1e-5)
    assert [h is not None for h in head.heads] == [True, True, False]
    assert len({v.path for v in head.trainable_variables}) == 2
    own = loss.parts[1].penalty(head.heads[1])
    assert number(loss.penalty(head)) == pytest.approx(number(own))


def test_saves_and_loads():
    loss = MultipleLosses([ProxyAnchor(margin=0.2), Contrastive()], [1.0, 0.5])
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert copy.parts[0].margin == 0.2 and copy.weights == [1.0, 0.5]
    head = loss.head(3, 6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert copy.heads[0].classes == 3 and copy.heads[1] is None


def test_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="weights must be 1 numbers"):
        MultipleLosses([Contrastive()], [1.0, 2.0])
    with pytest.raises(ValueError, match="can't be added to others; got MagFace"):
        MultipleLosses([LOSSES["magface"]()])
    with pytest.raises(ValueError, match="at least one"):
        MultipleLosses([])
