"""Targets of a batch, in every form."""

import keras
import numpy as np
import pytest
from keras import ops

from dml.ops import Targets, check_targets


def array(x):
    return ops.convert_to_numpy(x)


def test_labels_become_integers_of_one_axis():
    for y in ([2, 0], [[2.0], [0.0]]):
        targets = Targets.of(ops.convert_to_tensor(y))
        assert array(targets.labels).tolist() == [2, 0] and array(targets.labels).dtype == "int32"
        assert targets.samples is None and targets.related is None


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="which has 32 bits only")
def test_labels_beyond_32_bits_are_no_others():
    labels = ops.convert_to_tensor(np.array([2**32, -(2**40) + 1, 7]))
    assert array(Targets.of(labels).labels).tolist() == [2**31 - 1, -(2**31), 7]


def test_samples_stay_exact():
    y = {"labels": np.array([1, 1]), "samples": np.array([[2**24 + 1], [2**24 + 2]])}
    assert array(Targets.of(y).samples).tolist() == [2**24 + 1, 2**24 + 2]


def test_related_images_become_the_relation_of_the_batch():
    related = np.array([[1, 0.2, 0.3], [0.4, 0.5, 1]], "float32")
    targets = Targets.of({"related": related, "samples": np.array([0, 2])})
    np.testing.assert_allclose(array(targets.labels), [[1, 0.3], [0.4, 1]])
    np.testing.assert_allclose(array(targets.related), related)


def test_a_matrix_is_memberships_only_for_losses_that_take_them():
    one_hot = np.eye(2)[[0, 0]]
    assert array(Targets.of(one_hot).labels).tolist() == [[1, 1], [1, 1]]
    for kind in ("float64", "float32", "int32"):
        own = array(Targets.of(one_hot.astype(kind), memberships=True).labels)
        assert own.tolist() == [[1, 0], [1, 0]] and own.dtype == "float32"


def test_views_follow_each_other():
    targets = Targets.of({"labels": np.array([3, 4]), "samples": np.array([7, 8])})
    assert targets.of_views(1) is targets
    views = targets.of_views(2)
    assert array(views.labels).tolist() == [3, 4, 3, 4]
    assert array(views.samples).tolist() == [7, 8, 7, 8]
    assert views.to_compare() is views.labels  # views of one image are compared


def test_views_of_an_image_are_related_as_the_image_is():
    related = np.array([[1, 0.25, 0.5], [0.75, np.nan, 0]], "float32")  # of three images
    views = Targets.of({"related": related, "samples": np.array([0, 1])}).of_views(2)
    np.testing.assert_array_equal(array(views.labels), np.tile([[1, 0.25], [0.75, 1]], (2, 2)))
    np.testing.assert_array_equal(array(views.related), np.concatenate([related, related]))
    own = np.array([[1, 0], [0, 1], [1, 1]], "float32")
    for rows in (own, own[:2]):
        views = Targets.of(rows, memberships=True).of_views(3, memberships=True)
        np.testing.assert_array_equal(array(views.labels), np.concatenate([rows] * 3))


def test_images_are_compared_but_not_with_themselves():
    y = {"labels": np.array([3, 3, 4]), "samples": np.array([7, 7, -1])}
    expected = [[np.nan, np.nan, 0], [np.nan, np.nan, 0], [0, 0, 1]]
    np.testing.assert_array_equal(array(Targets.of(y).to_compare()), expected)
    assert array(Targets.of(y["labels"]).to_compare()).tolist() == [3, 3, 4]


@pytest.mark.parametrize("y", [{"labels": 1}, {"related": 1}, {"label": 1, "samples": 2}])
def test_other_dictionaries_are_refused(y):
    with pytest.raises(ValueError, match=r'targets are labels, \{"labels", "samples"\} or'):
        check_targets(y)
