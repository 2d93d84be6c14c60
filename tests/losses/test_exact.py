"""Arguments of a loss keep their integers."""

import numpy as np
import pytest
from keras import ops

from dml.errors import ArrayError
from dml.losses._exact import as_floats, exact_targets

BEYOND = [2**24 + 1, 2**24 + 2, 2**24 + 1, 7]  # of which float32 makes 2^24 + 2 twice or thrice


def codes(y, recode=True):
    found = exact_targets(y, recode)
    if ops.is_tensor(found):
        found = ops.convert_to_numpy(found)
    return found


@pytest.mark.parametrize("kind", [list, np.array, lambda y: np.array(y, "float64")])
def test_labels_of_32_bits_are_as_they_were(kind):
    found = codes(kind(BEYOND))
    assert found.tolist() == BEYOND and found.dtype == "int32"


@pytest.mark.parametrize("labels", [[2**32, 2**33, 2**32, 0], [-(2**40), 5, -(2**40), 2**62]])
def test_larger_labels_are_equal_where_they_were(labels):
    found = codes(np.array(labels))
    assert found[0] == found[2] and len(set(found.tolist())) == 3
    with pytest.raises(ArrayError, match="labels must be in 32 bits"):
        exact_targets(np.array(labels), recode=False)


def test_memberships_and_relations_are_floats():
    for matrix in (np.eye(3, dtype="int64"), np.eye(4, 2, dtype="bool")):
        assert np.array_equal(codes(matrix), matrix)
    found = exact_targets({"labels": np.array([2**40, 1]), "samples": np.array([5, 6])}, True)
    assert ops.convert_to_numpy(found["samples"]).tolist() == [5, 6]


def test_floats_are_float32_and_a_memory_keeps_its_labels():
    assert ops.convert_to_numpy(as_floats(np.ones((2, 3), "float16"))).dtype == "float32"
    assert ops.convert_to_numpy(as_floats(np.array(BEYOND, "int32"))).tolist() == BEYOND
    assert ops.convert_to_numpy(as_floats(np.eye(2, dtype="int32"))).dtype == "float32"
