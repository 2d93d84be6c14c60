"""Labels as integers, relations and memberships."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.losses import MultiSimilarity
from dml.ops import (
    has_column,
    memberships,
    own_column,
    relation_of,
    relation_of_distinct,
    relation_of_memberships,
    same_label,
)


def array(x):
    return ops.convert_to_numpy(x)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's retracing")
def test_labels_of_other_axes_than_before_want_another_compilation():
    import tensorflow as tf

    x, labels = np.eye(6, dtype="float32"), np.arange(6) % 3
    layers = [keras.Input((6,)), keras.layers.Dense(4), keras.layers.UnitNormalization()]
    model = keras.Sequential(layers)
    model.compile("sgd", loss=MultiSimilarity())
    with pytest.raises(tf.errors.InvalidArgumentError, match="pass np"):
        model.fit(x, np.eye(3, dtype=int)[labels], batch_size=4, verbose=0)
    with pytest.raises(ValueError, match="compile"):
        model.fit(x, labels, batch_size=4, verbose=0)
    model.compile("sgd", loss=MultiSimilarity())
    assert np.isfinite(model.fit(x, labels, batch_size=4, verbose=0).history["loss"]).all()


def test_one_hot_labels_become_the_relation_of_their_classes():
    relation = [[1, 0, 1], [0, 1, 0], [1, 0, 1]]
    one_hot = ops.cast([[0, 1, 0], [1, 0, 0], [0, 1, 0]], "float32")
    assert array(relation_of(one_hot)).tolist() == relation
    assert array(relation_of(ops.cast(relation, "float32"))).tolist() == relation
    with pytest.raises(ValueError, match=r"got \(3, 2\): of one-hot labels"):
        relation_of(one_hot[:, :2])


def test_pairs_of_one_class_include_an_image_with_itself():
    assert array(same_label([4, 4, 5])).tolist() == [[1, 1, 0], [1, 1, 0], [0, 0, 1]]
    assert array(same_label([[0.0, 0.6], [0.5, 0.0]])).tolist() == [[1, 1], [0, 1]]


def test_pairs_of_one_image_are_unknown():
    labels, samples = (ops.convert_to_tensor(np.array(x)) for x in ([0, 0, 1], [7, 7, -1]))
    relation = array(relation_of_distinct(labels, samples))
    np.testing.assert_array_equal(relation, [[np.nan] * 2 + [0], [np.nan] * 2 + [0], [0, 0, 1]])


def test_own_classes():
    labels = ops.convert_to_tensor(np.array([1, 0], "int32"))
    assert array(memberships(labels, 3)).tolist() == [[0, 1, 0], [1, 0, 0]]
    x = ops.cast([[1, 2, 3], [4, 5, 6]], "float32")
    assert array(own_column(x, labels)).tolist() == [[2], [4]]
    for strange in (labels + 5, labels - 2):  # no such class: the last
        assert array(own_column(x, strange)).tolist() == [[3], [6]]
    labels = ops.convert_to_tensor(np.array([-1, 0, 2, 3], "int32"))
    assert array(has_column(labels, 3)).tolist() == [False, True, True, False]


def test_images_are_related_by_the_classes_that_they_share():
    own = np.array([[1, 1, 0], [0, 1, 0], [0, 0, 1], [0.5, 0.5, 0], [1, 1, 1]])
    found = array(relation_of_memberships(own))
    expected = [
        [1, 1, 0, 1, 1],
        [1, 1, 0, 0.5, 1],
        [0, 0, 1, 0, 1],
        [1, 0.5, 0, 0.5, 1],
        [1, 1, 1, 1, 1],
    ]
    np.testing.assert_allclose(found, expected)
