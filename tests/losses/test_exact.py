"""Arguments of a loss keep their integers."""

import numpy as np
import pytest
from keras import backend, ops

from dml.errors import ArrayError
from dml.losses import Contrastive, MultipleLosses
from dml.losses._exact import as_floats, exact_targets
from tests.backend import value_and_grad

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


@pytest.mark.parametrize(
    "labels, message",
    [
        ([0.1, 0.9, 1.5, 1.7], r"labels must be integers; got 0.1 in row 0. np.unique"),
        ([0, 1.0, np.nan, 1], r"labels: row 2 has no label \(nan\)"),
        ([0, 1, None, 1], r"row 2 has no label \(None\)"),
        ([0.0, np.inf, 1, 1], "got inf in row 1"),
        (["a", "b", "a", "b"], "got 'a' in row 0. np.unique"),
        ([[0], [0.5], [1], [1]], "got 0.5 in row 1"),
        ([0, [1, 2], 1, 1], "labels must be .*rows that differ"),
        (np.zeros((4, 1, 1)), r"labels must be one for each image, \(N,\); got \(4, 1, 1\)"),
        ([0, 0, 1], r"labels must be one for each row of the embeddings, \(4,\); got 3"),
        ([0], "got 1"),
        (0, "got 1"),
        (np.array([["a", "b"]] * 4), r"labels must be numbers in \[0, 1\]"),
        (np.eye(4) * 2 - 1, r"labels must be in \[0, 1\].*got -1 in row 0, column 1"),
        ({"labels": [0, 0, 1, 1], "samples": [0, 1, 2, 2.5]}, "samples must be .*2.5 in row 3"),
        ({"labels": [0, 0, 1, 1], "samples": [0, 1, 2]}, r"samples must be .*\(4,\); got 3"),
        ({"related": np.eye(4) * 2, "samples": range(4)}, "related must be in .*got 2 in row 0"),
        ({"related": range(4), "samples": range(4)}, r"related must be \(B, N\).*got \(4,\)"),
        ({"label": [0, 0, 1, 1]}, "targets are labels"),
    ],
)
def test_labels_that_name_no_classes_are_refused(labels, message):
    for loss in (Contrastive(), MultipleLosses([Contrastive()])):
        x = np.eye(4, dtype="float32")
        with pytest.raises(ArrayError, match=message):
            loss(labels, x if isinstance(loss, Contrastive) else [x])


def test_labels_in_tensors_are_checked_unless_they_are_traced():
    x = np.eye(4, dtype="float32")
    with pytest.raises(ArrayError, match=r"got 0\.5 in row 1"):
        Contrastive()(ops.convert_to_tensor([0.0, 0.5, 1.0, 1.0]), x)
    with pytest.raises(ArrayError, match=r"got 2 in row 0"):
        Contrastive()(ops.convert_to_tensor(2 * np.eye(4)), x)
    if backend.backend() == "torch":  # which traces none
        return
    found, _ = value_and_grad(lambda y: Contrastive()(y, x), [0.0, 0.5, 1.0, 1.5], compiled=True)
    expected = Contrastive()([0, 0, 1, 1], x)
    assert found == pytest.approx(float(ops.convert_to_numpy(expected)))


@pytest.mark.parametrize(
    "labels",
    [[0, 0, 1, 1], [0.0, 0.0, 1.0, 1.0], [[0], [0], [1], [1]], np.array([0, 0, 1, 1], "O")],
)
def test_whole_numbers_of_any_kind_are_labels(labels):
    x = np.array([[1, 0], [0.6, 0.8], [0, 1], [-1, 0]], "float32")
    # Positives sqrt(0.8) and sqrt(2) apart; of the negatives, one is nearer than 1, sqrt(0.4).
    found = float(ops.convert_to_numpy(Contrastive()(labels, x)))
    assert found == pytest.approx((0.8 + 2) / 2 + (1 - 0.4**0.5) ** 2, rel=1e-5)
    relation = np.kron(np.eye(2), np.ones((2, 2))) * (1 + 1e-7)  # as of cosines that are rounded
    assert float(ops.convert_to_numpy(Contrastive()(relation, x))) == pytest.approx(found, rel=1e-5)


def test_memberships_and_relations_are_floats():
    for matrix in (np.eye(3, dtype="int64"), np.eye(4, 2, dtype="bool")):
        assert np.array_equal(codes(matrix), matrix)
    found = exact_targets({"labels": np.array([2**40, 1]), "samples": np.array([5, 6])}, True)
    assert ops.convert_to_numpy(found["samples"]).tolist() == [5, 6]


def test_floats_are_float32_and_a_memory_keeps_its_labels():
    assert ops.convert_to_numpy(as_floats(np.ones((2, 3), "float16"))).dtype == "float32"
    assert ops.convert_to_numpy(as_floats(np.array(BEYOND, "int32"))).tolist() == BEYOND
    assert ops.convert_to_numpy(as_floats(np.eye(2, dtype="int32"))).dtype == "float32"
