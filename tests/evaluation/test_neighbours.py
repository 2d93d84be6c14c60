"""Details of the search that retrieval does not show: blocks, and lists that end among ties."""

import numpy as np
import pytest

from dml.evaluation import _neighbours
from dml.evaluation._neighbours import rank_positives
from dml.evaluation._relevance import Relevance, SameCode
from dml.evaluation._scores import Scores
from tests.evaluation.reference import ranks_of_positives, unit


def ranked(x, codes, ks=(1,), extra_metrics=(), **options):
    """Ranks the positives of rows that search each other."""
    relevance = Relevance(SameCode(codes, codes), itself=True)
    return rank_positives(x, x, relevance, Scores(ks, extra_metrics), **options)


@pytest.mark.parametrize("block, unit_rows, memory", [(7, 8192, 224), (2048, 50, 1), (5, 20, 1)])
def test_size_of_the_blocks_has_no_effect(monkeypatch, block, unit_rows, memory):
    rng = np.random.default_rng(0)
    x = unit(rng.integers(-1, 2, (90, 3)) + 1e-3 * rng.integers(1, 3, (90, 3))).astype("float32")
    codes = rng.integers(0, 5, 90)
    whole = ranked(x, codes)
    monkeypatch.setattr(_neighbours, "BLOCK", block)
    monkeypatch.setattr(_neighbours, "UNIT", unit_rows)
    done = []
    parts = ranked(x, codes, memory_mib=memory, advance=done.append)
    assert (whole.first == parts.first).all() and sum(done) == 90
    np.testing.assert_allclose(whole.values, parts.values)


def test_ties_that_reach_beyond_the_list_are_counted():
    # 100 copies of one vector, 3 of them positives of each other: each is behind 97 negatives.
    x = np.tile([[1.0, 0.0]], (100, 1)).astype("float32")
    codes = np.array([0, 0, 0, *range(1, 98)])
    ranks = ranked(x, codes, shown=5)
    assert ranks.first[:3].tolist() == [98, 98, 98]
    assert (ranks.first[3:] == 0).all() and (ranks.positives[3:] == 0).all()


def test_first_rank_is_exact_far_beyond_the_list():
    rng = np.random.default_rng(0)
    x = unit(rng.normal(size=(400, 3))).astype("float32")
    codes = np.arange(400) // 2  # one positive each, anywhere
    expected = [r[0] for r in ranks_of_positives(x, codes)]
    assert ranked(x, codes, shown=2).first.tolist() == expected


@pytest.mark.parametrize("dim", [8, 256])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-6, 1e-4, 1e-3])
def test_collapsed_embeddings_rank_by_their_similarity_alone(dim, noise):
    rng = np.random.default_rng(0)
    x = unit(1 + noise * rng.normal(size=(150, dim))).astype("float32")
    codes, order = rng.integers(0, 20, 150), rng.permutation(150)
    found = ranked(x, codes)
    assert found.first.tolist() == [r[0] if r else 0 for r in ranks_of_positives(x, codes)]
    again = ranked(x[order], codes[order])
    assert again.first.tolist() == found.first[order].tolist()
    np.testing.assert_allclose(again.values, found.values[order])


@pytest.mark.parametrize("shown", [1, 7, 40])
@pytest.mark.parametrize("memory", [224, 0])
def test_rows_that_are_left_out_take_no_places(monkeypatch, shown, memory):
    monkeypatch.setattr(_neighbours, "LONGEST", 8)
    monkeypatch.setattr(_neighbours, "SHORTEST", 8)
    rng = np.random.default_rng(0)
    centres, sequences = rng.normal(size=(2, 4)), np.array([0] * 60 + [1] * 2 + [-1] * 6)
    x = centres[np.minimum(np.abs(sequences), 1)] + 0.1 * rng.normal(size=(68, 4))
    x = unit(x).astype("float32")
    codes = np.arange(68) % 2
    relevance = Relevance(SameCode(codes, codes), SameCode(sequences, sequences), itself=True)
    found = rank_positives(x, x, relevance, Scores((1,), ()), shown, memory)
    for row in range(68):
        others = (sequences != sequences[row]) | (sequences[row] < 0)
        others = np.flatnonzero(others & (np.arange(68) != row))
        order = others[np.argsort(-(x[others].astype("float64") @ x[row]))]
        expected = [*order[:shown], *[-1] * (shown - len(order))]
        assert found.neighbours[row].tolist() == expected
        right = np.flatnonzero(codes[order] == codes[row])
        assert found.first[row] == right[0] + 1
