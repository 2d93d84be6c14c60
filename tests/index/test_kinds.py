"""Each kind finds the true nearest as often as it says."""

import numpy as np
import pytest

from dml.index.kinds import EFFORTS, KINDS, build_codes, candidates, kind_for, rescored, tuned
from tests.index.clusters import clusters

VECTORS = clusters(3000, 32)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "flat"])
def test_reaches_the_wanted_recall_on_other_queries(kind):
    codes = build_codes(kind, VECTORS)
    effort, measured = tuned(kind, codes, VECTORS, 0.9)
    assert measured["measured"] >= 0.9 and effort in EFFORTS[kind]
    queries = clusters(200, 32, seed=1)
    rows = candidates(kind, codes, queries, 10 * effort.oversample, effort)
    similarities, found = rescored(VECTORS, queries, rows, 10)
    exact = np.argsort(-queries @ VECTORS.T, axis=1)[:, :10]
    shared = [len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)]
    assert np.mean(shared) / 10 > 0.85
    expected = np.take_along_axis(queries @ VECTORS.T, found, 1)
    np.testing.assert_allclose(similarities, expected, atol=1e-6)


def test_looks_further_for_more():
    codes = build_codes("binary", VECTORS)
    less, more = (tuned("binary", codes, VECTORS, target)[0] for target in (0.5, 0.99))
    assert less.oversample < more.oversample


def test_flat_is_exact_and_needs_no_codes():
    assert build_codes("flat", VECTORS) is None
    assert tuned("flat", None, VECTORS, 0.9)[1]["measured"] == 1.0


def test_kind_by_size():
    assert [kind_for(n) for n in (10, 200_001, 5_000_001)] == ["flat", "hnsw", "ivf_pq"]


def test_too_few_to_learn_codes_from():
    with pytest.raises(ValueError, match="ivf_pq needs at least 1,024 images; got 10"):
        build_codes("ivf_pq", VECTORS[:10])
