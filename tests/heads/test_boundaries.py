"""Boundaries appended to embeddings."""

import keras
import numpy as np

from dml.heads import BoundaryHead


def test_each_sample_gets_the_boundary_of_its_class():
    head = BoundaryHead(3, 1.2)
    head.build((None, 2))
    head.boundaries.assign([1.0, 2.0, 3.0])
    out = head(keras.ops.zeros((2, 2)), keras.ops.array([2, 0]))
    assert keras.ops.convert_to_numpy(out).tolist() == [[0, 0, 3], [0, 0, 1]]


def test_a_class_without_a_boundary_gets_their_mean():
    head = BoundaryHead(3, 1.2)
    head.build((None, 2))
    head.boundaries.assign([1.0, 2.0, 6.0])
    out = head(keras.ops.zeros((3, 2)), keras.ops.array([3, 0, -1]))
    assert keras.ops.convert_to_numpy(out)[:, -1].tolist() == [3, 1, 3]


def test_one_boundary_for_all():
    head = BoundaryHead(0, 1.2)
    out = keras.ops.convert_to_numpy(head(keras.ops.zeros((2, 2)), keras.ops.array([7, 0])))
    np.testing.assert_allclose(out[:, -1], 1.2)
    relation = keras.ops.array([[1.0, 0.5], [0.5, 1.0]])
    assert keras.ops.convert_to_numpy(head(keras.ops.zeros((2, 2)), relation)).shape == (2, 3)
    assert len(head.trainable_variables) == 1


def test_saves_and_loads():
    copy = BoundaryHead.from_config(BoundaryHead(3, 0.9).get_config())
    assert (copy.classes, copy.initial) == (3, 0.9)
