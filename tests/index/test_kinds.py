"""Each kind finds the true nearest as often as it reports."""

import numpy as np
import pandas as pd
import pytest

from dml.evaluation._neighbours import share_found
from dml.index._kinds import (
    CODED_KINDS,
    HnswSearch,
    IvfPqSearch,
    Recall,
    RefinedSearch,
    SearchParameters,
    check_kind,
    compare,
    faiss_module,
    held_out_count,
    kind_for,
    read_parameters,
    rescore,
    tune,
)
from dml.index._writer import _encode
from tests.index.clusters import clusters

VECTORS = clusters(3000, 32)
HELD = clusters(200, 32, seed=2)


def tuned(kind, target):
    codes = kind.build(VECTORS)

    def search(queries, k, parameters):
        return kind.search(codes, VECTORS, queries, k, parameters)[1]

    return codes, *tune(kind.grid, search, VECTORS, HELD, target)


@pytest.mark.parametrize("kind", CODED_KINDS.values(), ids=CODED_KINDS)
def test_reaches_the_wanted_recall_on_other_queries(kind):
    codes, parameters, recall = tuned(kind, 0.9)
    assert recall.target == 0.9 <= recall.measured and recall.queries == len(HELD)
    assert parameters in kind.grid
    queries = clusters(200, 32, seed=1)
    similarities, found = kind.search(codes, VECTORS, queries, 10, parameters)
    exact = np.argsort(-queries @ VECTORS.T, axis=1)[:, :10]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.87
    expected = np.take_along_axis(queries @ VECTORS.T, found, 1)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)
    assert (np.diff(similarities, axis=1) <= 0).all()


def test_a_higher_recall_takes_more_thorough_parameters():
    less, more = (tuned(CODED_KINDS["binary"], target)[1] for target in (0.5, 0.99))
    assert less.refine_factor < more.refine_factor


def test_the_first_parameters_that_reach_the_recall_are_taken():
    queries, k = VECTORS[:100], 10
    exact = np.argsort(-queries @ VECTORS.T, axis=1)[:, :k]

    def search(queries, k, parameters):  # finds 8 of 10 with an ef_search of 32, and all with 64
        found = exact.copy()
        found[:, 1 + {16: 4, 32: 7, 64: 9}[parameters.ef_search] :] = -1
        return found

    grid = [HnswSearch(16), HnswSearch(32), HnswSearch(64)]
    for target, parameters, measured in ((0.5, 16, 0.5), (0.6, 32, 0.8), (0.9, 64, 1.0)):
        found, recall = tune(grid, search, VECTORS, queries, target)
        assert found == HnswSearch(parameters) and recall.measured == pytest.approx(measured)
    assert tune(grid[:2], search, VECTORS, queries, 0.9)[0] == HnswSearch(32)
    assert tune(grid, search, VECTORS, queries[:0], 0.9) == (
        HnswSearch(16),
        Recall(0.9, rows=len(VECTORS)),
    )


@pytest.mark.parametrize("kind", CODED_KINDS)
def test_copies_of_the_nearest_are_as_good(kind):
    # Each of 200 vectors 20 times: which 10 of the 20 copies are listed is chance.
    vectors = np.repeat(clusters(200, 32), 20, axis=0)
    coded = _encode(kind, pd.DataFrame({"id": range(4000)}), vectors, 0.95)
    assert coded.recall.queries == 256 and coded.recall.measured >= 0.95
    if kind in ("hnsw", "int8"):  # the fastest find copies at once
        assert coded.parameters == CODED_KINDS[kind].grid[0]


def test_a_row_counts_if_it_is_as_near_as_the_last_of_the_nearest():
    # By angle to the query: 0, 10, 10, 20 degrees. Of the nearest two, rows 0 and 1, row 2 is as
    # good as row 1, row 3 is not, and a row that is listed twice is one.
    angles = np.radians([0, 10, -10, 20])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype("float32")
    query, near = vectors[:1], np.array([[0, 1]])
    lists = {(0, 1): 1, (0, 2): 1, (1, 2): 1, (0, 3): 0.5, (2, 2): 0.5, (0, -1): 0.5, (): 0}
    for found, share in lists.items():
        assert share_found(query, vectors, near, [found]) == share


def test_the_limit_of_matrix_products_that_others_set_stays():
    faiss = faiss_module()
    before = faiss.cvar.distance_compute_blas_threshold
    try:
        faiss.cvar.distance_compute_blas_threshold = 123_456_789
        compare(VECTORS, HELD, 3)
        assert faiss.cvar.distance_compute_blas_threshold == 123_456_789
    finally:
        faiss.cvar.distance_compute_blas_threshold = before


def test_search_parameters_are_those_of_their_kind():
    assert read_parameters("flat", {}) == SearchParameters()
    assert read_parameters("hnsw", {"ef_search": 64}) == HnswSearch(64)
    parameters = read_parameters("ivf_pq", {"nprobe": 8, "refine_factor": 4})
    assert parameters == IvfPqSearch(nprobe=8, refine_factor=4)
    assert str(parameters) == "nprobe 8, refine_factor 4"
    assert read_parameters("int8", RefinedSearch(2).to_json()) == RefinedSearch(2)
    for kind, values in (
        ("annoy", {}),
        ("hnsw", {}),
        ("hnsw", {"ef_search": 64, "refine_factor": 1}),
        ("flat", {"ef_search": 64}),
        ("int8", {"refine_factor": 0}),
        ("int8", {"refine_factor": 2**20 + 1}),
        ("int8", {"refine_factor": 1.0}),
        ("int8", {"refine_factor": True}),
    ):
        with pytest.raises(ValueError, match="must be"):
            read_parameters(kind, values)


def test_candidates_are_put_in_their_true_order():
    queries = clusters(30, 32, seed=4)
    rows = np.random.default_rng(0).integers(len(VECTORS), size=(30, 25))
    rows[3, 4:] = -1
    similarities, found = rescore(VECTORS, queries, rows, 5)
    for query, near, all_rows in zip(queries, found, rows, strict=True):
        true = all_rows[all_rows >= 0]
        true = true[np.argsort(-VECTORS[true] @ query, kind="stable")][:5]
        assert near[: len(true)].tolist() == true.tolist()
    assert found[3, 4] == -1 and (similarities[3, :4] <= 1).all()


def test_kind_by_size():
    assert [kind_for(n) for n in (10, 200_001, 5_000_001)] == ["flat", "hnsw", "ivf_pq"]


def test_few_rows_are_held_out_of_few():
    assert [held_out_count(n) for n in (0, 3, 100, 10_000)] == [0, 0, 25, 256]


def test_too_few_to_learn_codes_from():
    with pytest.raises(ValueError, match="ivf_pq needs at least 1,024 images; got 10"):
        check_kind("ivf_pq", 10)
