"""Metrics from ranks, worked by hand."""

import tracemalloc

import numpy as np
import pytest

from dml.evaluation._scores import Scores


def test_by_hand():
    # One query whose three positives rank 1, 3 and 7.
    scores = Scores((1, 4), ("precision", "map", "ndcg", "full_map"))
    columns = scores.columns(np.zeros(3, int), np.arange(1, 4), np.array([1, 3, 7]), np.array([3]))
    found = dict(zip(["first", *scores.names], columns[0], strict=True))
    ideal = 1 + 1 / np.log2(3) + 1 / 2
    assert found == pytest.approx(
        {
            "first": 1,
            "R-precision": 2 / 3,
            "MAP@R": (1 + 2 / 3) / 3,
            "P@1": 1,
            "P@4": 2 / 4,
            "MAP@1": 1,
            "MAP@4": (1 + 2 / 3) / 3,
            "NDCG@1": 1,
            "NDCG@4": (1 + 1 / 2) / ideal,
            "MAP": (1 + 2 / 3 + 3 / 7) / 3,
        }
    )


def test_a_large_k_takes_no_memory():
    # Of three positives at 1, 3 and 7, all are among the first 10 million.
    scores = Scores((10**7,), ("ndcg",))
    tracemalloc.start()
    columns = scores.columns(np.zeros(3, int), np.arange(1, 4), np.array([1, 3, 7]), np.array([3]))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    gains = 1 + 1 / np.log2(4) + 1 / np.log2(8)
    assert columns[0, -1] == pytest.approx(gains / (1 + 1 / np.log2(3) + 1 / 2))
    assert most < 1 << 20


def test_a_query_without_positives_has_zeros():
    scores = Scores((1,), ("map",))
    nothing = np.zeros(0, int)
    assert scores.columns(nothing, nothing, nothing, np.array([0])).tolist() == [[0, 0, 0, 0]]


def test_how_deep_ranks_must_be_known():
    positives = np.array([2, 9])
    assert Scores((5,)).horizon(positives, 100).tolist() == [2, 9]
    assert Scores((5,), ("ndcg",)).horizon(positives, 100).tolist() == [5, 9]
    assert Scores((5,), ("full_map",)).horizon(positives, 100).tolist() == [100, 100]
    assert Scores((50,), ("map",)).horizon(positives, 20).tolist() == [20, 20]
