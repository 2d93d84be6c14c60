"""Ranks by counting the whole gallery, against loops."""

import numpy as np
import pytest

from dml.evaluation import _counting
from dml.evaluation._counting import count_fully
from dml.evaluation._neighbours import MEMORY_MIB, TIE, Search
from dml.evaluation._relevance import Relevance, SameCode
from dml.evaluation._scores import Scores
from tests.evaluation.reference import ranks_of_positives, unit

ERROR = 1e-6


def planted(rows, seed=0):
    rng = np.random.default_rng(seed)
    x = unit(rng.integers(-1, 2, (rows, 4)) + 0.5).astype("float32")  # many duplicates
    return x, rng.integers(0, 4, rows)


def count(rows, x, codes, gallery=None, gallery_codes=None, memory=MEMORY_MIB << 20, error=ERROR):
    itself = gallery is None
    relevance = Relevance(SameCode(codes, codes if itself else gallery_codes), itself=itself)
    search = Search(x, x if itself else gallery, relevance, Scores((1,)), 10, 10, memory)
    return count_fully(search, rows, np.full(len(rows), -np.inf), TIE, error).T


def figures(ranks):
    """Returns first rank, precision at R and average precision at R from all ranks."""
    first = [r[0] for r in ranks]
    precision = [sum(p <= len(r) for p in r) / len(r) for r in ranks]
    average = [
        sum(order / p for order, p in enumerate(r, start=1) if p <= len(r)) / len(r) for r in ranks
    ]
    return first, precision, average


@pytest.mark.parametrize("memory, gallery_rows", [(1, 7), (224 << 20, 8192)])
def test_agrees_with_loops_whatever_the_blocks(monkeypatch, memory, gallery_rows):
    monkeypatch.setattr(_counting, "GALLERY_ROWS", gallery_rows)
    x, codes = planted(40)
    found = count(np.arange(40), x, codes, memory=memory)
    for values, expected in zip(found, figures(ranks_of_positives(x, codes)), strict=True):
        np.testing.assert_allclose(values, expected)


def test_a_gallery_of_its_own_keeps_every_row():
    (x, codes), (gallery, gallery_codes) = planted(12), planted(30, seed=1)
    found = count(np.arange(12), x, codes, gallery, gallery_codes)
    expected = figures(ranks_of_positives(x, codes, gallery, gallery_codes))
    for values, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(values, wanted)


def test_only_the_rows_asked_for():
    x, codes = planted(20)
    every, some = count(np.arange(20), x, codes), count(np.array([3, 7]), x, codes)
    for whole, part in zip(every, some, strict=True):
        assert part.tolist() == whole[[3, 7]].tolist()


@pytest.mark.parametrize("error", [1e-7, 0.3])
def test_how_much_is_computed_in_float64_has_no_effect(error):
    x, codes = planted(40)
    found = count(np.arange(40), x, codes, error=error)
    for values, expected in zip(found, figures(ranks_of_positives(x, codes)), strict=True):
        np.testing.assert_allclose(values, expected)
