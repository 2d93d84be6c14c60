"""Query expansion, gallery augmentation and re-ranking."""

import tracemalloc

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


def test_each_vector_of_a_gallery_counts_once():
    found = augment_gallery([[1, 0], [0.0001, 1]], 1, 0.0)
    np.testing.assert_allclose(found, np.full((2, 2), 0.5**0.5), atol=1e-4)
    gallery, _ = clustered(40)
    found = augment_gallery(gallery, neighbours=2)
    for row in (0, 7):
        s = gallery @ gallery[row]
        near = [j for j in np.argsort(-s) if j != row][:2]
        expected = gallery[row] + sum(s[j] ** 3 * gallery[j] for j in near)
        np.testing.assert_allclose(found[row], expected / np.linalg.norm(expected), atol=1e-5)
    np.testing.assert_allclose(augment_gallery(gallery, 0), gallery, atol=1e-6)
    np.testing.assert_allclose(augment_gallery(gallery, 90), augment_gallery(gallery, 39))
    np.testing.assert_allclose(augment_gallery([[0, 3]], 5), [[0, 1]])


def test_copies_of_a_vector_are_its_neighbours():
    gallery = np.array([[1.0, 0.0]] * 3 + [[0.6, 0.8]])
    found = augment_gallery(gallery, neighbours=2, alpha=1.0)
    np.testing.assert_allclose(found[:3], gallery[:3], atol=1e-6)
    expected = gallery[3] + 2 * 0.6 * gallery[0]
    np.testing.assert_allclose(found[3], expected / np.linalg.norm(expected), atol=1e-6)


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


def published(queries, gallery, k1, k2, weight):
    """Returns distances by the authors' algorithm, step by step, in float64."""
    every = np.concatenate([queries, gallery])
    d = np.array([[((a - b) ** 2).sum() for b in every] for a in every])
    d /= d.max(axis=1, keepdims=True)
    ranked = np.argsort(d, axis=1)
    described = np.zeros_like(d)

    def reciprocal(i, k):
        forward = ranked[i, : k + 1]
        return np.array([j for j in forward if i in ranked[j, : k + 1]])

    for i in range(len(every)):
        own = reciprocal(i, k1)
        expansion = own
        for candidate in own:
            theirs = reciprocal(candidate, int(np.around(k1 / 2)))
            if len(np.intersect1d(theirs, own)) > 2 / 3 * len(theirs):
                expansion = np.append(expansion, theirs)
        expansion = np.unique(expansion)
        weights = np.exp(-d[i, expansion])
        described[i, expansion] = weights / weights.sum()
    described = np.array([described[ranked[i, :k2]].mean(axis=0) for i in range(len(every))])
    count = len(queries)
    found = np.empty((count, len(gallery)))
    for i in range(count):
        for j in range(len(gallery)):
            shared = np.minimum(described[i], described[count + j]).sum()
            found[i, j] = (1 - weight) * (1 - shared / (2 - shared)) + weight * d[i, count + j]
    return found


@pytest.mark.parametrize(
    "rows, k1, k2, weight, spread",
    [(120, 20, 6, 0.3, 1.1), (90, 7, 1, 0.0, 0.5), (40, 6, 2, 1.0, 0.8), (30, 60, 9, 0.3, 0.8)],
)
def test_k_reciprocal_is_the_published_algorithm(rows, k1, k2, weight, spread):
    for seed in range(2):
        x, _ = clustered(rows, 6, spread=spread, seed=seed)
        queries, gallery = x[: rows // 4], x[rows // 4 :]
        found = k_reciprocal(queries, gallery, k1, k2, weight)
        assert found.dtype == "float32"
        np.testing.assert_allclose(found, published(queries, gallery, k1, k2, weight), atol=1e-5)


@pytest.mark.parametrize("copies", [1, 3])
def test_k_reciprocal_does_not_depend_on_the_order_of_rows(copies):
    x, _ = clustered(120)
    queries, gallery = x[:30], np.repeat(x[30:], copies, axis=0)
    found = k_reciprocal(queries, gallery)
    rng = np.random.default_rng(1)
    of_queries, of_gallery = rng.permutation(len(queries)), rng.permutation(len(gallery))
    again = k_reciprocal(queries[of_queries], gallery[of_gallery])
    np.testing.assert_allclose(again, found[of_queries][:, of_gallery], atol=1e-6)
    for copy in range(1, copies):
        np.testing.assert_allclose(found[:, copy::copies], found[:, ::copies], atol=1e-6)


def test_k_reciprocal_of_collapsed_and_of_zero_vectors():
    same = k_reciprocal(np.ones((3, 4)), np.ones((5, 4)))
    np.testing.assert_allclose(same, 0, atol=1e-6)
    x, _ = clustered(30)
    x[[2, 20]] = 0
    assert np.isfinite(k_reciprocal(x[:10], x[10:])).all()


def test_many_neighbours_take_little_memory():
    x, _ = clustered(3000, dim=64)
    tracemalloc.start()
    found = augment_gallery(x, neighbours=800, alpha=1.0)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 100 << 20  # a copy of the neighbours of 2,048 rows takes 400 MiB
    s = x @ x[5]
    near = [j for j in np.argsort(-s) if j != 5][:800]
    expected = x[5] + np.maximum(s[near], 0) @ x[near]
    np.testing.assert_allclose(found[5], expected / np.linalg.norm(expected), atol=1e-5)


def test_refuses_options_out_of_range():
    with pytest.raises(ValueError, match=r"neighbours must be an integer; got 1\.5"):
        augment_gallery(np.eye(2), 1.5)
    with pytest.raises(ValueError, match=r"nearest_k must be an integer; got 2\.0"):
        k_reciprocal(np.eye(2), np.eye(2), nearest_k=2.0)
    with pytest.raises(ValueError, match="at least 0"):
        expand_queries(np.eye(2), np.eye(2), -1)
    with pytest.raises(ValueError, match=r"weight must be in \[0, 1\]"):
        k_reciprocal(np.eye(2), np.eye(2), weight=2.0)
    for function in (expand_queries, k_reciprocal):
        with pytest.raises(ValueError, match="gallery has 2 dimensions, the queries 3"):
            function(np.eye(3), np.eye(2))
