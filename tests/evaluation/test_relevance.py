"""Positives and excluded rows, against tables of all pairs."""

import numpy as np
import pytest

from dml.evaluation._arrays import checked_keys, checked_labels
from dml.evaluation._relevance import Relevance, SharedLabel, by_key, by_label

QUERIES = [{1, 2}, {3}, set(), {1}]
GALLERY = [{2}, {1, 3}, {4}, set(), {1, 2, 3}]


def labels(values):
    return checked_labels(values, len(values), "labels")


def keys_of(values):
    return checked_keys(values, len(values), "exclude")


def table(relevance, size):
    return [relevance.positives_of(i).tolist() for i in range(size)]


def test_sets_that_share_a_label_belong_together():
    relevance = Relevance(SharedLabel(QUERIES, GALLERY))
    expected = [[0, 1, 4], [1, 4], [], [1, 4]]
    assert table(relevance, 4) == expected and relevance.positives.tolist() == [3, 2, 0, 2]
    found = np.array([[4, 0, 3], [2, 1, 0]])
    assert relevance.is_positive(np.array([0, 1]), found).tolist() == [
        [True, True, False],
        [False, True, False],
    ]


def test_counts_of_many_sets_agree_with_members():
    rng = np.random.default_rng(0)
    sets = [set(rng.integers(0, 30, rng.integers(0, 3)).tolist()) for _ in range(1500)]
    shared = SharedLabel(sets, sets)
    assert shared.counts().tolist() == [len(shared.members(i)) for i in range(1500)]


@pytest.mark.parametrize("itself", [True, False])
def test_rows_of_a_querys_key_are_neither(itself):
    classes, keys = labels(["a", "a", "a", "b", "b"]), keys_of([1, 1, 2, None, float("nan")])
    relevance = Relevance(by_label(classes, None), by_key(keys, None), itself)
    expected = [[2], [2], [0, 1], [4], [3]] if itself else [[2], [2], [0, 1], [3, 4], [3, 4]]
    assert table(relevance, 5) == expected
    assert relevance.positives.tolist() == [len(row) for row in expected]
    out = [relevance.left_out_of(i).tolist() for i in range(5)]
    assert out == ([[0, 1], [0, 1], [2], [3], [4]] if itself else [[0, 1], [0, 1], [2], [], []])
    rows, every = np.arange(5), np.tile(np.arange(5), (5, 1))
    assert [np.flatnonzero(r).tolist() for r in relevance.is_left_out(rows, every)] == out
    assert relevance.most_left_out == (3 if itself else 2)


def test_a_key_of_none_is_no_key():
    relevance = Relevance(by_label(labels([0, 0]), None), by_key(keys_of([None, None]), None), True)
    assert relevance.positives.tolist() == [1, 1]
