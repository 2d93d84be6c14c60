"""Which queries and pairs are shown, against loops."""

import numpy as np
import pytest

from dml.report._selection import (
    _occurrence,
    drawn_queries,
    nearest_positive,
    principal_plane,
    similarity_histograms,
    worst_queries,
)
from tests.report.example import example, unit


def test_occurrence_by_hand():
    assert _occurrence(np.array([5, 3, 5, 5, 3])).tolist() == [0, 0, 1, 2, 1]


def test_draws_from_as_many_classes_as_possible():
    labels = np.repeat([0, 1, 2, 3], [50, 1, 1, 1])
    rows = drawn_queries(labels, np.ones(53, int), 6, seed=0)
    assert len(set(rows)) == 6
    assert set(labels[rows[:4]]) == {0, 1, 2, 3}


def test_draws_no_query_without_a_positive():
    rows = drawn_queries(np.zeros(6, int), np.array([0, 1, 0, 3, 0, 9]), 6, seed=0)
    assert sorted(rows) == [1, 3, 5]


def test_draws_the_same_for_a_seed_and_others_for_another():
    labels, ranks = np.zeros(100, int), np.ones(100, int)
    first = drawn_queries(labels, ranks, 10, seed=0)
    np.testing.assert_array_equal(first, drawn_queries(labels, ranks, 10, seed=0))
    assert set(first) != set(drawn_queries(labels, ranks, 10, seed=1))


def test_worst_are_wrong_and_the_latest_first():
    assert worst_queries([1, 7, 0, 2, 30, 1], 2).tolist() == [4, 1]
    assert worst_queries([1, 7, 0, 2, 30, 1], 9).tolist() == [4, 1, 3]
    assert worst_queries([1, 1, 0], 9).tolist() == []


def test_nearest_positive_is_never_the_query_itself():
    data = example(
        vectors=unit([[1, 0], [0.6, 0.8], [0.8, 0.6], [1, 0.01]]),
        labels=np.array([0, 0, 0, 1]),
        neighbours=np.zeros((4, 1), int),
        first_positive=np.array([2, 1, 1, 0]),
    )
    assert nearest_positive(data, 0) == 2
    assert nearest_positive(data, 3) is None


def test_nearest_positive_of_a_gallery_may_have_the_querys_row():
    data = example(gallery=True)
    for row in range(len(data.labels)):
        own = [g for g in range(20) if data.gallery_labels[g] == data.labels[row]]
        nearest = max(own, key=lambda g: data.gallery_vectors[g] @ data.vectors[row])
        assert nearest_positive(data, row) == nearest


@pytest.mark.parametrize("gallery", [False, True])
def test_histograms_hold_every_pair_once_and_no_self_pair(gallery):
    data = example(gallery=gallery)
    found = similarity_histograms(data, bins=8)
    values = {True: [], False: []}
    for q, vector in enumerate(data.vectors):
        for g, other in enumerate(data.searched_vectors):
            if gallery or q != g:
                same = bool(data.labels[q] == data.searched_labels[g])
                values[same].append(np.clip(vector @ other, -1, 1))
    np.testing.assert_array_equal(found.positive, np.histogram(values[True], found.edges)[0])
    np.testing.assert_array_equal(found.negative, np.histogram(values[False], found.edges)[0])
    assert found.positive_mean == pytest.approx(np.mean(values[True]), abs=1e-5)
    assert found.negative_mean == pytest.approx(np.mean(values[False]), abs=1e-5)


def test_histograms_of_one_class_have_no_negative_pair():
    found = similarity_histograms(example(classes=1))
    assert found.positive.sum() == 20 and found.negative.sum() == 0
    assert np.isfinite(found.positive_mean) and np.isnan(found.negative_mean)


def test_histograms_draw_some_queries_of_many():
    found = similarity_histograms(example(), queries=3)
    assert found.positive.sum() + found.negative.sum() == 3 * 19


def test_plane_keeps_the_distances_of_flat_data():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2))
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    points, kept = principal_plane(flat @ turn[:2] + 3.0)
    distances = np.linalg.norm(points[:, None] - points[None], axis=-1)
    np.testing.assert_allclose(
        distances, np.linalg.norm(flat[:, None] - flat[None], axis=-1), atol=1e-6
    )
    assert kept == pytest.approx(1)


def test_plane_of_equal_or_short_vectors_is_finite():
    points, kept = principal_plane(np.ones((4, 3)))
    assert np.isfinite(points).all() and kept == 0
    points, kept = principal_plane(np.array([[0.0], [2.0]]))
    assert points.shape == (2, 2) and kept == pytest.approx(1)
