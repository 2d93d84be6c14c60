"""Each kind finds the true nearest as often as it says."""

import numpy as np
import pytest

from dml.index._kinds import (
    EFFORTS,
    KINDS,
    build_codes,
    check_kind,
    coded_search,
    held_out,
    kind_for,
    rescored,
    tuned,
)
from tests.index.clusters import clusters

VECTORS = clusters(3000, 32)
HELD = clusters(200, 32, seed=2)


def tune(kind, target):
    codes = build_codes(kind, VECTORS)

    def search(queries, k, effort):
        return coded_search(kind, codes, VECTORS, queries, k, effort)[1]

    return codes, *tuned(EFFORTS[kind], search, VECTORS, HELD, target)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flat"])
def test_reaches_the_wanted_recall_on_other_queries(kind):
    codes, effort, measured = tune(kind, 0.9)
    assert measured["measured"] >= 0.9 and effort in EFFORTS[kind]
    queries = clusters(200, 32, seed=1)
    similarities, found = coded_search(kind, codes, VECTORS, queries, 10, effort)
    exact = np.argsort(-queries @ VECTORS.T, axis=1)[:, :10]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.87
    expected = np.take_along_axis(queries @ VECTORS.T, found, 1)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    assert (np.diff(similarities, axis=1) <= 0).all()


def test_looks_further_for_more():
    less, more = (tune("binary", target)[1] for target in (0.5, 0.99))
    assert less.oversample < more.oversample


def test_candidates_are_put_in_their_true_order():
    queries = clusters(30, 32, seed=4)
    rows = np.random.default_rng(0).integers(len(VECTORS), size=(30, 25))
    rows[3, 4:] = -1
    similarities, found = rescored(VECTORS, queries, rows, 5)
    for query, near, all_rows in zip(queries, found, rows, strict=True):
        true = all_rows[all_rows >= 0]
        true = true[np.argsort(-VECTORS[true] @ query, kind="stable")][:5]
        assert near[: len(true)].tolist() == true.tolist()
    assert found[3, 4] == -1 and (similarities[3, :4] <= 1).all()


def test_kind_by_size():
    assert [kind_for(n) for n in (10, 200_001, 5_000_001)] == ["flat", "hnsw", "ivf_pq"]


def test_few_rows_are_held_out_of_few():
    assert [held_out(n) for n in (0, 3, 100, 10_000)] == [0, 0, 25, 256]


def test_too_few_to_learn_codes_from():
    with pytest.raises(ValueError, match="ivf_pq needs at least 1,024 images; got 10"):
        check_kind("ivf_pq", 10)
