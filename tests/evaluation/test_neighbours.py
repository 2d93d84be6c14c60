"""What retrieval does not show of the search: blocks, and lists that end among ties."""

import numpy as np
import pytest

from dml.evaluation import counting, neighbours
from dml.evaluation.neighbours import rank_positives
from tests.evaluation.reference import ranks_of_positives, unit


@pytest.mark.parametrize("block, matrix_bytes", [(7, 64 << 20), (2048, 1)])
def test_size_of_the_blocks_has_no_effect(monkeypatch, block, matrix_bytes):
    rng = np.random.default_rng(0)
    x = unit(rng.integers(-1, 2, (90, 3)) + 1e-3 * rng.integers(1, 3, (90, 3))).astype("float32")
    codes = rng.integers(0, 5, 90)
    whole = rank_positives(x, codes)
    monkeypatch.setattr(neighbours, "BLOCK", block)
    monkeypatch.setattr(counting, "MATRIX_BYTES", matrix_bytes)
    parts = rank_positives(x, codes)
    assert (whole.first == parts.first).all()
    np.testing.assert_allclose(whole.average_precision_at_r, parts.average_precision_at_r)


def test_ties_that_reach_beyond_the_list_are_counted():
    # 100 copies of one vector, 3 of them positives of each other: each is behind 97 negatives.
    x = np.tile([[1.0, 0.0]], (100, 1)).astype("float32")
    codes = np.array([0, 0, 0, *range(1, 98)])
    ranks = rank_positives(x, codes, shown=5)
    assert ranks.first[:3].tolist() == [98, 98, 98]
    assert (ranks.first[3:] == 0).all() and (ranks.positives[3:] == 0).all()


def test_first_rank_is_exact_far_beyond_the_list():
    rng = np.random.default_rng(0)
    x = unit(rng.normal(size=(400, 3))).astype("float32")
    codes = np.arange(400) // 2  # one positive each, anywhere
    expected = [r[0] for r in ranks_of_positives(x, codes)]
    assert rank_positives(x, codes, shown=2).first.tolist() == expected


@pytest.mark.parametrize("dim", [8, 256])
@pytest.mark.parametrize("noise", [0.0, 1e-7, 1e-6, 1e-4, 1e-3])
def test_collapsed_embeddings_rank_by_their_similarity_alone(dim, noise):
    rng = np.random.default_rng(0)
    x = unit(1 + noise * rng.normal(size=(150, dim))).astype("float32")
    codes, order = rng.integers(0, 20, 150), rng.permutation(150)
    found = rank_positives(x, codes)
    assert found.first.tolist() == [r[0] if r else 0 for r in ranks_of_positives(x, codes)]
    again = rank_positives(x[order], codes[order])
    assert again.first.tolist() == found.first[order].tolist()
    np.testing.assert_allclose(again.average_precision_at_r, found.average_precision_at_r[order])
