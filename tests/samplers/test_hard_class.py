"""Tests specific to batches of near classes."""

import numpy as np
import pytest

from dml.samplers import HardClass, MPerClass, coverage
from dml.samplers.hard_class import _near_order, _unit_vectors


def test_by_hand():
    # Classes 0 and 3 point one way, 1 and 2 another: each batch of two classes is one such pair.
    vectors = np.array([[1, 0], [0, 1], [0.1, 2], [5, 0.1]])
    labels = np.repeat(np.arange(4), 2)
    for epoch in range(5):
        batches = HardClass(2, 2).batches(labels, epoch, 0, vectors)
        pairs = {tuple(np.unique(labels[batch])) for batch in batches}
        assert pairs == {(0, 3), (1, 2)}


@pytest.mark.parametrize("classes, size", [(50, 4), (50, 7), (400, 3), (5, 9), (6, 1), (1, 2)])
def test_an_order_is_the_greedy_one_of_a_loop(classes, size):
    vectors = _unit_vectors(np.random.default_rng(0).normal(size=(classes, 5)), classes)
    order = _near_order(vectors, size, np.random.default_rng(1))
    np.testing.assert_array_equal(np.sort(order), np.arange(classes))
    left = set(range(classes))
    for start in range(0, classes, size):
        seed, *others = order[start : start + size].tolist()
        left.remove(seed)
        nearest = sorted(left, key=lambda c: -float(vectors[seed] @ vectors[c]))[: size - 1]
        assert set(others) == set(nearest)
        left -= set(others)


def test_nearer_than_random_classes():
    rng = np.random.default_rng(0)
    labels, vectors = np.repeat(np.arange(300), 5), rng.normal(size=(300, 16))
    unit = _unit_vectors(vectors, 300)

    def similarity(batches):
        means = [unit[np.unique(labels[batch])] for batch in batches]
        return np.mean([(m @ m.T).mean() for m in means])

    near = HardClass(8, 3).batches(labels, 0, 0, vectors)
    assert similarity(near) > 1.5 * similarity(MPerClass(8, 3).batches(labels, 0, 0))


def test_without_class_vectors_it_is_m_per_class():
    labels = np.repeat(np.arange(30), 6)
    for epoch in range(2):
        np.testing.assert_array_equal(
            HardClass(5, 3).batches(labels, epoch, 4), MPerClass(5, 3).batches(labels, epoch, 4)
        )


@pytest.mark.parametrize("policy", ["once", "repeat_augmented"])
def test_every_epoch_visits_every_class_and_all_epochs_every_image(policy):
    rng = np.random.default_rng(3)
    labels = rng.permutation(np.repeat(np.arange(50), rng.integers(1, 30, 50)))
    seen = np.zeros(len(labels), bool)
    for epoch in range(30 // 3 + 1):  # the largest class has 29 images
        vectors = rng.normal(size=(50, 8))  # they move from epoch to epoch
        batches = HardClass(7, 3, policy).batches(labels, epoch, 1, vectors)
        assert batches.shape == HardClass(7, 3, policy).batches(labels, 0, 1).shape
        found = coverage(batches, labels)
        assert found.classes == 1 and (policy != "once" or found.copies == 0)
        seen[batches] = True
    assert seen.all()


def test_skipped_classes_do_not_shift_the_vectors():
    # Class 1 is too small; the pairs of the others must be those of their own vectors.
    labels = np.repeat(np.arange(5), [2, 1, 2, 2, 2])
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.1, 1], [1, 0.1]])
    batches = HardClass(2, 2, "skip").batches(labels, 0, 0, vectors)
    assert {tuple(np.unique(labels[batch])) for batch in batches} == {(0, 4), (2, 3)}


def test_a_zero_vector_is_a_class_like_others():
    labels, vectors = np.repeat(np.arange(6), 2), np.zeros((6, 3))
    assert coverage(HardClass(2, 2).batches(labels, 1, 0, vectors), labels).classes == 1


def test_a_class_is_compared_with_few_others(monkeypatch):
    # The seed of each batch with the classes that are left: C^2 / (2 P), were each block of seeds
    # to draw P classes a seed; a seed that another has drawn is compared for nothing.
    count, size = 6000, 32
    vectors = np.random.default_rng(0).normal(size=(count, 8)).astype("float32")
    compared, real = [], np.argpartition

    def argpartition(similarity, *rest, **options):
        compared.append(similarity.size)
        return real(similarity, *rest, **options)

    monkeypatch.setattr(np, "argpartition", argpartition)
    batches = HardClass(size, 2).batches(np.repeat(np.arange(count), 2), 1, 0, vectors)
    assert sum(compared) < count**2 / size
    assert coverage(batches, np.repeat(np.arange(count), 2)).classes == 1


@pytest.mark.parametrize(
    "vectors, message",
    [
        (np.ones((3, 2)), "each of the 4 training classes; got the shape .3, 2."),
        (np.ones(4), "got the shape .4,."),
        (np.array([[1, 0], [0, 1], [np.nan, 1], [1, 1]]), "finite; row 2 is not"),
    ],
)
def test_refuses_vectors_that_are_not_one_for_each_class(vectors, message):
    with pytest.raises(ValueError, match=message):
        HardClass(2, 2).batches(np.repeat(np.arange(4), 2), 0, 0, vectors)


@pytest.mark.parametrize("options", [{"classes_per_batch": 0}, {"steps": -1}])
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        HardClass(**options)
