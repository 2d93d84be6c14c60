"""Statistics of embeddings whose shape is known."""

import numpy as np
import pytest

from dml.evaluation import embedding_statistics


def on_sphere(rows=2000, dim=32, seed=0):
    x = np.random.default_rng(seed).normal(size=(rows, dim))
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_a_uniform_sphere():
    found = embedding_statistics(on_sphere(), np.arange(2000) // 4)
    distances = {"uniformity", "alignment", "compactness"}
    assert set(found) == distances | {"effective rank", "anisotropy", "hubness"}
    assert found["uniformity"] == pytest.approx(-3.76, abs=0.05)  # E exp(4 x.y - 4) at D = 32
    assert found["alignment"] == pytest.approx(2.0, abs=0.05)
    assert found["effective rank"] == pytest.approx(32, abs=1)
    assert found["anisotropy"] < 0.05


def test_one_point():
    found = embedding_statistics(np.ones((20, 4)), np.arange(20) // 2)
    assert found["uniformity"] == pytest.approx(0, abs=1e-6)
    assert found["alignment"] == pytest.approx(0, abs=1e-6)
    assert found["effective rank"] == 1.0
    assert found["anisotropy"] == pytest.approx(1) and found["compactness"] == pytest.approx(1)


def test_alignment_is_the_mean_over_pairs():
    x, labels = on_sphere(30, 5), np.arange(30) % 4
    pairs = [
        ((x[i] - x[j]) ** 2).sum()
        for i in range(30)
        for j in range(30)
        if i != j and labels[i] == labels[j]
    ]
    assert embedding_statistics(x, labels)["alignment"] == pytest.approx(np.mean(pairs), rel=1e-5)
    assert np.isnan(embedding_statistics(x, np.arange(30))["alignment"])


def test_a_plane_has_rank_2():
    x = np.zeros((500, 16))
    x[:, :2] = np.random.default_rng(0).normal(size=(500, 2))
    assert embedding_statistics(x, np.arange(500) % 5)["effective rank"] == pytest.approx(
        2, abs=0.01
    )


def test_a_hub_is_noticed():
    x = on_sphere(400, 64) + np.eye(64)[0]
    plain = embedding_statistics(x, np.arange(400) // 4)["hubness"]
    x[0] = np.eye(64)[0]  # nearer to all than they are to each other
    assert embedding_statistics(x, np.arange(400) // 4)["hubness"] > plain + 3


def test_refuses_one_row():
    with pytest.raises(ValueError, match="two rows"):
        embedding_statistics([[1.0, 2.0]], ["a"])
    with pytest.raises(ValueError, match="seed must be at least 0; got -1"):
        embedding_statistics(np.eye(2), ["a", "b"], seed=-1)
