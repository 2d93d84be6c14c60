"""The search by a Keras backend finds what faiss finds."""

import faiss
import keras
import numpy as np
import pytest

from dml.evaluation import _device_search, retrieval
from tests.evaluation.reference import unit


@pytest.mark.parametrize("part", [1 << 17, 40])
def test_equals_faiss(monkeypatch, part):
    monkeypatch.setattr(_device_search, "PART", part)
    rng = np.random.default_rng(0)
    x, gallery = (unit(rng.normal(size=(n, 16))).astype("float32") for n in (30, 250))
    similarities, rows = _device_search.nearest(x, gallery, 60)
    expected = faiss.knn(x, gallery, 60, metric=faiss.METRIC_INNER_PRODUCT)
    np.testing.assert_allclose(similarities, expected[0], atol=1e-6)
    assert (rows == expected[1]).mean() > 0.99
    assert similarities.dtype == "float32" and rows.dtype == "int64"


@pytest.mark.parametrize("rows, depth", [(1000, 7), (1024, 3), (1100, 1)])
def test_long_rows_are_searched_by_blocks(monkeypatch, rows, depth):
    monkeypatch.setattr(_device_search, "BLOCK", 16)
    rng = np.random.default_rng(rows)
    x, gallery = (abs(rng.normal(size=(n, 8))).astype("float32") for n in (20, rows))
    similarities, found = _device_search.nearest(x, -gallery, depth)  # all of them negative
    exact = -x.astype("float64") @ gallery.T.astype("float64")
    np.testing.assert_array_equal(found, np.argsort(-exact, axis=1)[:, :depth])
    np.testing.assert_allclose(similarities, -np.sort(-exact)[:, :depth], rtol=1e-5)


def test_metrics_are_the_same_by_both(monkeypatch):
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 20, 300)
    x = rng.normal(size=(20, 8))[labels] + rng.normal(size=(300, 8))
    by_faiss = retrieval(x, labels)
    monkeypatch.setattr(_device_search, "has_accelerator", lambda: True)
    by_device = retrieval(x, labels)
    assert by_device.recall == by_faiss.recall and by_device.map_at_r == by_faiss.map_at_r


def test_an_accelerator_is_no_cpu():
    weight = keras.Variable(np.ones(2)).value
    device = str(getattr(weight, "device", "cpu")).lower()
    assert _device_search.has_accelerator() == ("cpu" not in device)
