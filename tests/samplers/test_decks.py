"""Decks that deal the images of classes."""

import numpy as np

from dml.samplers._decks import deal, mixed, rows_by_class, visit_numbers


def test_by_hand():
    # Class 5 has the rows 1 and 3, class 7 the rows 0, 2 and 4.
    rows, starts, counts = rows_by_class([7, 5, 7, 5, 7])
    assert rows.tolist() == [1, 3, 0, 2, 4]
    assert starts.tolist() == [0, 2] and counts.tolist() == [2, 3]
    # Three visits of class 7, 2 images each: two hands are a deck, and then a new deck starts.
    classes, visits = np.array([1, 1, 1]), np.array([0, 1, 2])
    hands = deal(rows, starts[classes], counts[classes], classes, visits, size=2, seed=0)
    assert set(hands[:2].ravel()) == {0, 2, 4} and hands[1, 1] == hands[0, 0]
    assert hands[2, 0] != hands[2, 1]


def test_a_hand_depends_on_its_visit_alone():
    rows, starts, counts = rows_by_class(np.repeat([0, 1], [9, 5]))
    classes, visits = np.array([0, 1, 0, 1]), np.array([0, 3, 5, 1])
    hands = deal(rows, starts[classes], counts[classes], classes, visits, size=4, seed=1)
    alone = deal(rows, starts[[1]], counts[[1]], classes[1:2], visits[1:2], size=4, seed=1)
    np.testing.assert_array_equal(hands[1], alone[0])


def test_visits_are_counted_planned_ones_first():
    # Two batches plan one class each and are filled with a second; 3 fills before it is planned.
    visited, taken = np.array([[5, 3], [3, 5]]), np.array([[True, True], [True, False]])
    numbers = visit_numbers(visited, taken, planned=1)
    assert numbers[:, 0].tolist() == [0, 0] and numbers[0, 1] == 1


def test_mixing_loses_nothing():
    # The first output of splitmix64 from state 0, as its authors' code gives it.
    assert mixed(np.zeros(1, np.uint64))[0] == 0xE220A8397B1DCDAF
    assert len(np.unique(mixed(np.arange(10_000, dtype=np.uint64)))) == 10_000
