"""Masks of pairs, of labels and of graded relations."""

import numpy as np
from keras import ops

from dml.ops import (
    as_weights,
    class_sizes,
    complement,
    keep,
    pair_masks,
    present,
    relation_masks,
)


def array(x):
    return ops.convert_to_numpy(x)


def test_pairs_by_hand():
    positive, negative = pair_masks(ops.convert_to_tensor(np.array([5, 7, 5])))
    assert array(positive).tolist() == [[0, 0, 1], [0, 0, 0], [1, 0, 0]]
    assert array(negative).tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_a_graded_relation_is_both_in_part_and_unknown_pairs_are_neither():
    relation = np.array([[1.0, 0.25], [np.nan, 1.0]], "float32")
    positive, negative = pair_masks(relation)
    assert array(positive).tolist() == [[0, 0.25], [0, 0]]
    assert array(negative).tolist() == [[0, 0.75], [0, 0]]
    assert array(relation_masks(relation)[0]).tolist() == [[1, 0.25], [0, 1]]


def test_sizes_of_classes_by_hand():
    assert array(class_sizes(ops.convert_to_tensor(np.array([5, 7, 5])))).tolist() == [2, 1, 2]
    relation = np.array([[1.0, 0.25, 0.5], [0.25, 0.0, np.nan], [0.5, np.nan, 1.0]], "float32")
    assert array(class_sizes(relation)).tolist() == [1.75, 1.25, 1.5]


def test_booleans_and_weights_are_treated_alike():
    for mask in (np.array([[True, False]]), np.array([[1.0, 0.0]], "float32")):
        mask = ops.convert_to_tensor(mask)
        assert array(as_weights(mask)).tolist() == [[1, 0]]
        assert array(complement(mask)).tolist() == [[0, 1]]
        assert array(present(mask)).tolist() == [[True, False]]
        assert array(keep(mask, ops.convert_to_tensor([[False, True]]))).tolist() == [[0, 0]]
