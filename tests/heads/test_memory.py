"""What the memory holds, and when."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.heads import MemoryHead


def called(head, value, label, training=True, samples=None, related=None):
    embeddings = ops.cast(np.full((2, 3), value), "float32")
    known = {"samples": samples and ops.array(samples, dtype="int32")}
    if related is not None:
        known["related"] = ops.cast(related, "float32")
    out = head(embeddings, ops.array([label, label]), **known, training=training)
    return {name: np.array(ops.convert_to_numpy(v)) for name, v in out.items()}


def test_a_batch_meets_what_came_before_it_and_takes_the_oldest_place():
    head = MemoryHead(size=5, embedding_dim=3)
    first = called(head, 1.0, 10)
    assert (first["memory_labels"] == -1).all() and first["steps"] == 0
    second = called(head, 2.0, 20)
    assert second["memory_labels"].tolist() == [10, 10, -1, -1, -1]
    assert second["memory"][:2].tolist() == [[1, 1, 1], [1, 1, 1]]
    called(head, 3.0, 30)
    fourth = called(head, 4.0, 40)
    assert fourth["memory_labels"].tolist() == [30, 10, 20, 20, 30] and fourth["steps"] == 3


def test_twins_are_the_same_image_of_an_earlier_batch():
    head = MemoryHead(size=5, embedding_dim=3)
    first = called(head, 1.0, 10, samples=[2**24 + 1, 2**24 + 2])  # one float32
    assert not first["twins"].any() and first["samples"].tolist() == [0, 1]
    second = called(head, 2.0, 10, samples=[2**24 + 2, 7])
    assert second["twins"].tolist() == [[False, True, False, False, False], [False] * 5]
    unknown = called(head, 3.0, 10)
    assert not unknown["twins"].any() and "samples" not in unknown


def test_how_far_a_batch_belongs_to_what_is_remembered():
    head = MemoryHead(size=5, embedding_dim=3)
    related = np.array([[1, 0.25, 0, 0.5], [0, 1, 0.75, np.nan]])
    assert np.isnan(called(head, 1.0, 10, samples=[3, 0], related=related)["memory_relation"]).all()
    second = called(head, 2.0, 10, samples=[1, 2], related=related)["memory_relation"]
    np.testing.assert_array_equal(second[:, :2], [[0.5, 1], [np.nan, 0]])
    assert np.isnan(second[:, 2:]).all()
    outside = called(head, 2.0, 10, training=False, samples=[1, 2], related=related)
    assert np.isnan(outside["memory_relation"]).all()


def test_outside_training_nothing_is_remembered():
    head = MemoryHead(size=4, embedding_dim=3)
    called(head, 1.0, 10, training=False)
    assert (called(head, 1.0, 10)["memory_labels"] == -1).all()


def test_its_state_is_not_trained_but_saved():
    head = MemoryHead(size=4, embedding_dim=3)
    head.build((None, 3))
    assert not head.trainable_variables and len(head.variables) == 4
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert (copy.size, copy.embedding_dim) == (4, 3)


def test_refuses_a_relation_and_empty_sizes():
    with pytest.raises(ValueError, match="one class for each sample, or how far each belongs"):
        MemoryHead(4, 3)(ops.zeros((2, 3)), ops.zeros((2, 2)))
    with pytest.raises(ValueError, match="must be positive"):
        MemoryHead(0, 3)
