"""Columns that heads add to the cosines."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.heads import (
    CurriculumHead,
    LengthHead,
    ProxyHead,
    ProxyLengthHead,
    QualityHead,
    RandomMarginHead,
)
from tests.backend import traced

X = np.array([[3.0, 4.0], [0.0, 2.0]], "float32")
LABELS = np.array([0, 1])


def out(head, x=X, training=False, labels=LABELS):
    return ops.convert_to_numpy(head(ops.array(x), ops.array(labels), training=training))


@pytest.mark.parametrize("part", [LengthHead, QualityHead, CurriculumHead, RandomMarginHead])
def test_the_other_columns_are_the_cosines(part):
    unit = X / np.linalg.norm(X, axis=1, keepdims=True)
    head, plain = part(3, 2), ProxyHead(3, 2)
    head.build((None, 2)), plain.build((None, 2))
    plain.proxies.assign(head.proxies)
    np.testing.assert_allclose(out(head, unit)[:, :-1], out(plain, unit), atol=1e-6)
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert (copy.classes, copy.embedding_dim) == (3, 2)


def test_length():
    np.testing.assert_allclose(out(LengthHead(3, 2))[:, -1], [5, 2], rtol=1e-6)


def test_quality_is_high_for_long_embeddings_and_held_in_bounds():
    head = QualityHead(3, 2)
    head.build((None, 2))
    step = traced(lambda: head(ops.array(X), ops.array(LABELS), training=True))
    for _ in range(1000):
        found = step()
    quality = ops.convert_to_numpy(found)[:, -1]
    np.testing.assert_allclose(quality, [0.333, -0.333], atol=1e-2)
    assert out(head, 100 * X)[:, -1].tolist() == [1, 1]


def test_progress_is_the_running_mean_of_own_cosines():
    head = CurriculumHead(2, 2)
    head.build((None, 2))
    head.proxies.assign([[[1.0, 0.0]], [[0.0, 1.0]]])
    unit = np.array([[0.6, 0.8], [0.0, 1.0]], "float32")  # own cosines 0.6 and 1
    assert out(head, unit)[:, -1].tolist() == [0, 0]
    np.testing.assert_allclose(out(head, unit, training=True)[:, -1], 0.01 * 0.8, rtol=1e-5)
    assert out(head, unit)[0, -1] == pytest.approx(0.008)
    both = np.array([[1.0, 1.0], [0.0, 1.0]], "float32")  # of two classes: the mean of 0.6 and 0.8
    found = out(head, unit, training=True, labels=both)[0, -1]
    assert found == pytest.approx(0.99 * 0.008 + 0.01 * (0.7 + 1.0) / 2)


def test_margins_are_drawn_in_training_only():
    head = RandomMarginHead(3, 2)
    assert (out(head)[:, -1] == 0).all()
    drawn = np.concatenate([out(head, training=True)[:, -1] for _ in range(300)])
    assert abs(drawn.mean()) < 0.2 and 0.8 < drawn.std() < 1.2


def test_the_margins_of_a_copy_are_the_same():
    def drawn(seed):
        head = RandomMarginHead(3, 2, seed=seed)
        copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
        return [out(h, training=True)[:, -1].tolist() for h in (head, copy)]

    head, copy = drawn(7)
    assert head == copy != drawn(8)[0]


def test_lengths_of_the_proxies():
    head = ProxyLengthHead(2, 2)
    head.build((None, 2))
    head.proxies.assign([[[3.0, 4.0]], [[0.0, 2.0]]])
    found = out(head, np.array([[0.6, 0.8], [0.0, 1.0]], "float32"))
    np.testing.assert_allclose(found[0], [[1.0, 5.0], [0.8, 2.0]], rtol=1e-6)
