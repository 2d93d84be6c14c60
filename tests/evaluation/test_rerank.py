"""What neighbours tell about the ranking."""

import numpy as np
import pytest

from dml.evaluation import augment_gallery, expand_queries, k_reciprocal, retrieval


def unit(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def clustered(rows=300, classes=15, dim=16, spread=1.1, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.arange(rows) % classes
    return unit(
        rng.normal(size=(classes, dim))[labels] + spread * rng.normal(size=(rows, dim))
    ), labels


def test_expansion_by_hand():
    gallery = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    query = unit(np.array([[2.0, 1.0]]))
    s = query[0] @ gallery.T
    expected = unit((query[0] + s[0] ** 3 * gallery[0] + s[1] ** 3 * gallery[1])[None])
    np.testing.assert_allclose(expand_queries(query, gallery, 3, 3.0), expected, atol=1e-6)
    np.testing.assert_allclose(expand_queries(query, gallery, 0), query, atol=1e-6)


def test_a_gallery_is_expanded_by_others_than_itself():
    gallery, _ = clustered(40)
    found = augment_gallery(gallery, neighbours=2)
    for row in (0, 7):
        s = gallery @ gallery[row]
        near = [j for j in np.argsort(-s) if j != row][:2]
        expected = 2 * gallery[row] + sum(s[j] ** 3 * gallery[j] for j in near)
        np.testing.assert_allclose(found[row], expected / np.linalg.norm(expected), atol=1e-5)


def map_of(distances, labels, gallery_labels):
    """Returns the mean average precision of rankings by distance."""
    precisions = []
    for row, label in zip(distances, labels, strict=True):
        hits = gallery_labels[np.argsort(row, kind="stable")] == label
        precisions.append((np.cumsum(hits)[hits] / (np.flatnonzero(hits) + 1)).mean())
    return np.mean(precisions)


def test_all_of_them_help_where_classes_are_clusters():
    x, labels = clustered()
    queries, gallery = x[:60], x[60:]
    plain = map_of(-queries @ gallery.T, labels[:60], labels[60:])
    expanded = map_of(-expand_queries(queries, gallery) @ gallery.T, labels[:60], labels[60:])
    again = map_of(k_reciprocal(queries, gallery), labels[:60], labels[60:])
    assert expanded > plain + 0.02 and again > plain + 0.02
    before = retrieval(x, labels, ks=(1,)).map_at_r
    assert retrieval(augment_gallery(x), labels, ks=(1,)).map_at_r > before


def test_k_reciprocal_agrees_with_the_paper_step_by_step():
    x, _ = clustered(30, 3)
    queries, gallery = x[:6], x[6:]
    d = 2 - 2 * x @ x.T
    d = np.maximum(d, 0) / d.max(axis=1, keepdims=True)
    ranked = [list(np.argsort(row, kind="stable")) for row in d]

    def reciprocal(i, k):
        return {j for j in ranked[i][: k + 1] if i in ranked[j][: k + 1]}

    described = np.zeros_like(d)
    for i in range(30):
        members = reciprocal(i, 6)
        wide = set(members)
        for j in sorted(members):
            theirs = reciprocal(j, 3)
            if len(theirs & wide) > 2 / 3 * len(theirs):
                wide |= theirs
        for j in wide:
            described[i, j] = np.exp(-d[i, j])
    described /= described.sum(axis=1, keepdims=True)
    described = np.array([described[ranked[i][:2]].mean(axis=0) for i in range(30)])
    expected = np.empty((6, 24))
    for i in range(6):
        for j in range(24):
            both = np.minimum(described[i], described[6 + j]).sum()
            either = np.maximum(described[i], described[6 + j]).sum()
            expected[i, j] = 0.7 * (1 - both / either) + 0.3 * d[i, 6 + j]
    found = k_reciprocal(queries, gallery, nearest_k=6, expansion_k=2, weight=0.3)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_refuses_options_out_of_range():
    with pytest.raises(ValueError, match="at least 0"):
        expand_queries(np.eye(2), np.eye(2), -1)
    with pytest.raises(ValueError, match="weight in"):
        k_reciprocal(np.eye(2), np.eye(2), weight=2.0)
