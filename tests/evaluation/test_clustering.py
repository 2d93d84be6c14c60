"""Clusters compared with the classes."""

import sys

import numpy as np
import pytest
from scipy.sparse.csgraph import connected_components

from dml.evaluation import clustering, threshold_clustering, threshold_clusters
from dml.evaluation.clustering import _pairwise_f1


def planted(spread, classes=8, each=20):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(classes), each)
    return rng.normal(size=(classes, 16))[labels] + spread * rng.normal(
        size=(len(labels), 16)
    ), labels


def test_separate_classes_score_1_and_noise_about_0():
    found = clustering(*planted(0.01), seeds=5)
    assert found.nmi.max() == pytest.approx(1) and found.ami.max() == pytest.approx(1)
    rng = np.random.default_rng(1)
    noise = clustering(rng.normal(size=(400, 16)), rng.integers(0, 20, 400))
    assert abs(noise.ami.mean()) < 0.05 < noise.nmi.mean()  # NMI is not adjusted for chance


def test_mutual_information_by_hand():
    # Two tight pairs: clusters and classes are the same.
    x = np.array([[1.0, 0.0], [1.0, 0.01], [-1.0, 0.0], [-1.0, 0.01]])
    assert clustering(x, ["a", "a", "b", "b"]).metrics()["NMI"] == {"value": 1.0, "spread": 0.0}
    # Classes across the clusters share no information with them.
    assert clustering(x, ["a", "b", "a", "b"]).metrics()["NMI"]["value"] == pytest.approx(0)


def test_length_has_no_effect_and_seeds_are_repeatable():
    x, labels = planted(1.0)
    a = clustering(x, labels)
    b = clustering(x * np.linspace(0.1, 9, len(x))[:, None], labels)
    assert (a.nmi == b.nmi).all() and len(a.nmi) == 3


def test_says_what_is_wrong():
    with pytest.raises(ValueError, match="row 0 is not finite"):
        clustering([[np.inf, 1.0], [1.0, 1.0]], [0, 1])
    with pytest.raises(ValueError, match="seeds must be at least 1"):
        clustering(np.ones((2, 2)), [0, 1], seeds=0)
    with pytest.raises(ValueError, match=r"iterations must be an integer; got 1\.5"):
        clustering(np.ones((2, 2)), [0, 1], iterations=1.5)


def test_pairwise_f1_counts_pairs():
    classes, clusters = np.array([0, 0, 0, 1, 1]), np.array([2, 2, 5, 5, 5])
    pairs = [(i, j) for i in range(5) for j in range(i)]
    said = {p for p in pairs if clusters[p[0]] == clusters[p[1]]}
    true = {p for p in pairs if classes[p[0]] == classes[p[1]]}
    precision, recall = len(said & true) / len(said), len(said & true) / len(true)
    expected = 2 * precision * recall / (precision + recall)
    assert _pairwise_f1(classes, clusters) == pytest.approx(expected)
    assert _pairwise_f1(np.arange(4), np.arange(4)) == 0.0  # no pair at all


def test_a_chain_of_similar_pairs_is_one_cluster():
    angles = np.radians([0, 5, 10, 90, 95, 200])
    x = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    found = threshold_clusters(x, np.cos(np.radians(6)))
    assert found.tolist() == [0, 0, 0, 1, 1, 2]
    scores = threshold_clustering(x, ["a", "a", "a", "b", "b", "c"], 0.99).metrics()
    assert scores["pairwise F1"]["value"] == scores["ARI"]["value"] == 1


def test_threshold_clusters_agree_with_all_pairs(monkeypatch):
    monkeypatch.setattr(sys.modules["dml.evaluation.clustering"], "BLOCK", 7)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    expected = connected_components(x @ x.T >= 0.97, directed=False)[1]
    assert threshold_clusters(x, 0.97).tolist() == expected.tolist()
    assert len(set(threshold_clusters(x, 1.0))) == 80 and set(threshold_clusters(x, -1.0)) == {0}


@pytest.mark.parametrize("dim", [8, 64, 512])
def test_copies_are_one_cluster_at_any_threshold(dim):
    x = np.random.default_rng(0).normal(size=(50, dim))
    found = threshold_clusters(np.concatenate([x, x]), 1.0)
    assert (found[:50] == found[50:]).all() and len(set(found)) == 50


@pytest.mark.parametrize("threshold", [-1.1, 1.1])
def test_refuses_a_threshold_that_is_no_similarity(threshold):
    with pytest.raises(ValueError, match=r"threshold must be in \[-1, 1\]"):
        threshold_clusters(np.eye(2), threshold)
