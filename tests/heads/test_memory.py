"""The contents of the memory over time."""

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


def compiled(head):
    """Returns a function that remembers labels (B,), compiled by the backend, and what is known."""

    def remember(labels):
        embeddings = ops.cast(labels, "float32")[:, None] * ops.ones((1, 3))
        return head(embeddings, labels, samples=100 + labels, training=True)["steps"]

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            anything = tf.TensorSpec([None], "int32")
            return tf.function(remember, input_signature=[anything])
        case "jax":
            import jax

            @jax.jit
            def pure(labels, state):
                pairs = list(zip(head.variables, state, strict=True))
                with keras.StatelessScope(state_mapping=pairs) as scope:
                    remember(labels)
                return [scope.get_current_value(v) for v in head.variables]

            def step(labels):
                state = pure(labels, [v.value for v in head.variables])
                for variable, value in zip(head.variables, state, strict=True):
                    variable.assign(value)

            return step
        case _:
            return remember


@pytest.mark.parametrize(
    "size, batches, jit",
    [
        (4, [2, 1, 2], False),
        (4, [2, 1, 2], True),
        (5, [3, 3, 1, 4, 2, 5], True),
        (3, [2, 5, 1], True),
        (2, [7], True),
    ],
)
def test_it_is_a_queue_whatever_the_sizes_of_batches(size, batches, jit):
    head = MemoryHead(size, 3)
    head.build((None, 3))
    step = compiled(head) if jit else None
    seen = 0
    for count in batches:
        labels = ops.arange(seen + 1, seen + count + 1, dtype="int32")
        if jit:
            step(labels)
        else:
            head(ops.ones((count, 3)), labels, samples=100 + labels, training=True)
        seen += count
        newest = list(range(max(seen - size, 0) + 1, seen + 1))
        known = ops.convert_to_numpy(head.memory_labels)
        assert sorted(known) == [-1] * (size - len(newest)) + newest
        there = known >= 0
        samples = ops.convert_to_numpy(head.memory_samples)
        assert (samples[there] == 100 + known[there]).all() and (samples[~there] == -1).all()
        if jit:
            rows = ops.convert_to_numpy(head.memory)
            assert (rows[there] == known[there][:, None]).all() and (rows[~there] == 0).all()
    assert int(head.steps) == len(batches)


def test_a_saved_memory_continues_where_it_stopped():
    heads = [MemoryHead(4, 3), MemoryHead(4, 3)]
    for head in heads:
        head.build((None, 3))

    def put(head, labels):
        head(ops.ones((len(labels), 3)), ops.array(labels, dtype="int32"), training=True)
        return ops.convert_to_numpy(head.memory_labels).tolist()

    put(heads[0], [1, 2, 3])
    for known, other in zip(heads[0].variables, heads[1].variables, strict=True):
        other.assign(known)
    assert put(heads[0], [4, 5]) == put(heads[1], [4, 5]) == [5, 2, 3, 4]


def test_twins_are_the_same_image_of_an_earlier_batch():
    head = MemoryHead(size=5, embedding_dim=3)
    first = called(head, 1.0, 10, samples=[2**24 + 1, 2**24 + 2])  # one float32
    assert not first["twins"].any()
    second = called(head, 2.0, 10, samples=[2**24 + 2, 7])
    assert second["twins"].tolist() == [[False, True, False, False, False], [False] * 5]
    unknown = called(head, 3.0, 10)
    assert not unknown["twins"].any()


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


def test_only_images_with_a_label_in_training_are_labelled():
    head, related = MemoryHead(size=5, embedding_dim=3), np.ones((2, 4))
    assert not called(head, 1.0, -1)["labelled"].any()
    assert called(head, 1.0, -1)["labelled"].tolist() == [True, True, False, False, False]
    assert not called(head, 1.0, -1, training=False)["labelled"].any()
    called(head, 1.0, 10, samples=[1, 2], related=related)
    assert called(head, 1.0, 10)["labelled"].tolist() == [False, True, True, True, False]


def test_its_state_is_not_trained_but_saved():
    head = MemoryHead(size=4, embedding_dim=3)
    head.build((None, 3))
    assert not head.trainable_variables and len(head.variables) == 6
    copy = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(head))
    assert (copy.size, copy.embedding_dim) == (4, 3)


def test_refuses_a_relation_and_empty_sizes():
    with pytest.raises(ValueError, match="one class for each sample, or a relation to all"):
        MemoryHead(4, 3)(ops.zeros((2, 3)), ops.zeros((2, 2)))
    with pytest.raises(ValueError, match="must be at least 1"):
        MemoryHead(0, 3)
