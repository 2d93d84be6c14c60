"""Positives and excluded rows, against tables of all pairs."""

import numpy as np
import pytest

from dml.evaluation import _relevance
from dml.evaluation._arrays import checked_keys, checked_labels
from dml.evaluation._relevance import Relevance, SameCode, SharedLabel, by_key, by_label, indicator

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


@pytest.mark.parametrize("pairs", [1, 40, 10**6])
def test_few_pairs_of_many_are_in_memory_at_once(monkeypatch, pairs):
    rng = np.random.default_rng(0)
    monkeypatch.setattr(_relevance, "PAIRS", pairs)
    sets = [set(rng.integers(0, 9, rng.integers(0, 4)).tolist()) for _ in range(200)]
    queries, gallery = sets[:120], sets[120:]
    shared, sizes, table_of = SharedLabel(queries, gallery), [], SharedLabel.together

    def together(self, rows):
        found = table_of(self, rows)
        sizes.append(found.nnz)
        return found

    monkeypatch.setattr(SharedLabel, "together", together)
    alike = np.array([[bool(a & b) for b in gallery] for a in queries])
    assert (shared.counts() == alike.sum(axis=1)).all()
    query_keys, gallery_keys = rng.integers(-1, 3, 120), rng.integers(-1, 3, 80)
    same = (query_keys[:, None] == gallery_keys) & (query_keys[:, None] >= 0)
    counts = shared.counts_in(SameCode(query_keys, gallery_keys))
    assert (counts == (alike & same).sum(axis=1)).all()
    rows, found = rng.permutation(120)[:70], rng.integers(0, 80, (70, 12))
    assert (shared.holds(rows, found) == alike[rows[:, None], found]).all()
    assert max(sizes) < pairs + 80 * 3  # the last query of a part may exceed it


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


@pytest.mark.parametrize("several", [True, False])
@pytest.mark.parametrize("itself", [True, False])
def test_positives_are_counted_as_they_are_listed(several, itself):
    rng = np.random.default_rng(0)

    def drawn(count):
        sets = [set(rng.integers(0, 6, rng.integers(0, 3)).tolist()) for _ in range(count)]
        keys = rng.choice([None, "a", "b", "c"], count)
        return labels(sets if several else rng.integers(0, 6, count).tolist()), keys_of(keys)

    (first, keys), (second, others) = drawn(1100), drawn(70)
    second, others = (None, None) if itself else (second, others)
    relevance = Relevance(by_label(first, second), by_key(keys, others), itself)
    places = range(1100) if itself else range(70)
    classes, gallery = (first, keys) if itself else (second, others)

    def alike(a, b):
        return bool(a & b) if several else a == b

    for i in range(0, 1100, 13):
        expected = sum(
            alike(first[i], classes[j])
            and (keys[i] is None or keys[i] != gallery[j])
            and not (itself and i == j)
            for j in places
        )
        assert relevance.positives[i] == expected


def test_a_query_without_labels_is_not_one_of_its_own():
    sets = labels([set(), {1}, {1}])
    assert Relevance(by_label(sets, None), None, True).positives.tolist() == [0, 1, 1]


def test_a_key_of_none_is_no_key():
    relevance = Relevance(by_label(labels([0, 0]), None), by_key(keys_of([None, None]), None), True)
    assert relevance.positives.tolist() == [1, 1]


def test_labels_are_numbered_alike_in_every_process():
    known = {}
    indicator([frozenset("hgfedcba"), frozenset("xa"), frozenset("yb")], known)
    assert list(known) == list("abcdefghxy")  # the order of a set changes with each process
