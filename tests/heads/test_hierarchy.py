"""Triplets and their ancestors."""

import keras
import numpy as np
import pytest

from dml.heads import HierarchyHead
from dml.heads.hierarchy import _NO_TRIPLET
from tests.backend import value_and_grad
from tests.heads.test_walk import unit
from tests.losses.reference_pairs import poincare


def head(**options):
    options = {"ancestors": 12, "neighbours": 3, "triplets": 200, **options}
    keras.utils.set_random_seed(0)
    made = HierarchyHead(4, **options)
    made.build((None, 4))
    return made


def gaps(head, x, labels, training=False):
    x = keras.ops.cast(x, "float32")
    return keras.ops.convert_to_numpy(
        head(x, keras.ops.convert_to_tensor(labels), training=training)
    )


def drawn(part, nearness):
    """Returns the rows of neighbours and strangers that the head draws, and which are there."""
    rows = part.draw(keras.ops.cast(nearness, "float32"), False)
    return [keras.ops.convert_to_numpy(r) for r in rows]


def test_neighbours_are_each_others_nearest_and_unrelated_points_are_not():
    nearness = np.array(  # 0 and 1 are each other's nearest, 2 is 1's second, 3 is nobody's
        [[9, 8, 1, 2], [8, 9, 7, 1], [1, 7, 9, 6], [2, 1, 6, 9.0]]
    )
    first, second, stranger, there = drawn(head(neighbours=2), nearness)
    assert there.all()
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == {(0, 1), (1, 0)}
    assert {(int(a), int(s)) for a, s in zip(first, stranger, strict=True)} == {
        (0, 2), (0, 3), (1, 2), (1, 3)
    }  # fmt: skip


def test_there_is_no_triplet_without_a_neighbour_or_a_stranger():
    x = unit(np.random.default_rng(0).normal(size=(1, 4)))
    found = gaps(head(), x, np.zeros(1, "int32"))
    assert (found[0] == _NO_TRIPLET).all() and (found[1] > _NO_TRIPLET).any()


def test_an_ancestor_is_near_to_the_farther_of_the_two():
    distances = np.array([[0.1, 3.0, 1.0, 2.0]] * 500, "float32")
    part = head(ancestors=4, temperature=0.1)
    choice, column = part.choose(keras.ops.convert_to_tensor(distances), training=False)
    chosen = keras.ops.convert_to_numpy(column)
    assert (chosen == 0).mean() > 0.99
    np.testing.assert_allclose(keras.ops.convert_to_numpy(choice), np.eye(4)[chosen], atol=1e-6)


def test_draws_new_numbers_in_training_only():
    x = unit(np.random.default_rng(0).normal(size=(9, 4)))
    labels = np.repeat(np.arange(3), 3).astype("int32")
    part = head()
    np.testing.assert_array_equal(gaps(part, x, labels), gaps(part, x, labels))
    first, second = (gaps(part, x, labels, training=True) for _ in range(2))
    assert (first != second).any()


@pytest.mark.parametrize("length", [1.0, 0.0])
def test_triplets_of_one_point_differ_by_their_ancestors_alone(length):
    x = length * np.repeat(unit(np.random.default_rng(0).normal(size=(1, 4))), 9, axis=0)
    part = head(temperature=10.0)  # any ancestor may be chosen
    labels = np.repeat(np.arange(3), 3).astype("int32")
    # The same numbers are drawn for the ancestors of two and of three: they are equal.
    assert (gaps(part, x, labels)[0] == _NO_TRIPLET).all()
    found = gaps(part, x, labels, training=True)[0]
    drawn = found[found[:, 0] > _NO_TRIPLET]
    assert len(drawn) > 100
    np.testing.assert_allclose(drawn[:, 1], drawn[:, 0], atol=1e-5)
    np.testing.assert_allclose(drawn[:, 2], -drawn[:, 0], atol=1e-5)
    ancestors = keras.ops.convert_to_numpy(part.points).astype("float64")
    if length:
        to = np.array([poincare(2.3 * x[0], a, 0.1, 2.3) for a in ancestors])
    else:  # the centre, from which a point is twice its length away
        to = 2 * np.minimum(np.linalg.norm(ancestors, axis=1), 2.3)
    apart = (to[:, None] - to[None, :])[~np.eye(len(to), dtype=bool)]
    assert np.abs(drawn[:, :1] - apart).min(axis=1).max() < 1e-4


@pytest.mark.parametrize("kind", ["ordinary", "identical", "zero"])
def test_gradients_are_finite(kind):
    x = unit(np.random.default_rng(0).normal(size=(9, 4)))
    x = {"ordinary": x, "identical": np.repeat(x[:1], 9, axis=0), "zero": np.zeros_like(x)}[kind]
    labels = keras.ops.convert_to_tensor(np.repeat(np.arange(3), 3).astype("int32"))
    part = head()

    def total(x):
        return keras.ops.sum(keras.ops.relu(part(x, labels) + 0.1))

    value, grad = value_and_grad(total, x)
    assert np.isfinite(value) and np.isfinite(grad).all()
    if kind == "ordinary":
        assert np.abs(grad).max() > 0
