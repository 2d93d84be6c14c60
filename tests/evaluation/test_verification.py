"""Error rates over all pairs, against every pair in float64."""

import importlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from dml.evaluation import verification
from dml.evaluation.verification import _BINS


def clustered(rows, classes, seed=0, spread=1.0):
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(rows) % classes)
    return rng.normal(size=(classes, 8))[labels] + spread * rng.normal(size=(rows, 8)), labels


def all_pairs(x, labels):
    """Returns the similarities of all pairs, and whether they are of one class."""
    x = x / np.linalg.norm(x, axis=1, keepdims=True)
    first, second = np.triu_indices(len(x), 1)
    return (x[first] * x[second]).sum(axis=1), labels[first] == labels[second]


@settings(max_examples=25)
@given(st.integers(6, 60), st.integers(2, 5), st.integers(0, 1000))
def test_agrees_with_all_pairs(rows, classes, seed):
    x, labels = clustered(rows, classes, seed)
    found = verification(x, labels)
    similarities, same = all_pairs(x, labels)
    assert (found.genuine, found.impostors) == (same.sum(), (~same).sum())
    assert found.auc == pytest.approx(roc_auc_score(same, similarities), abs=1e-4)
    for far in (0.5, 0.1, 0.02):
        tar, threshold = found.at_far(far)
        # Rates at a threshold that lies apart from any similarity are exact.
        clear = np.abs(similarities - threshold).min() > 4 / _BINS
        if clear or not np.isfinite(threshold):
            assert tar == pytest.approx((similarities[same] >= threshold).mean())
        assert (similarities[~same] >= threshold + 4 / _BINS).mean() <= far


def test_the_equal_error_rate_is_where_both_are_equal():
    x, labels = clustered(400, 8)
    found = verification(x, labels)
    similarities, same = all_pairs(x, labels)
    refused = (similarities[same] < found.eer_threshold).mean()
    accepted = (similarities[~same] >= found.eer_threshold).mean()
    assert refused == pytest.approx(found.eer, abs=1e-3)
    assert accepted == pytest.approx(found.eer, abs=1e-3)


def test_perfect_and_collapsed_embeddings():
    labels = np.repeat(np.arange(4), 3)
    perfect = verification(np.eye(4)[labels], labels)
    assert perfect.auc == 1.0 and perfect.eer == 0.0 and perfect.at_far(0.0)[0] == 1.0
    collapsed = verification(np.ones((12, 4)), labels)
    assert collapsed.auc == 0.5 and collapsed.eer == pytest.approx(0.5)
    assert collapsed.at_far(0.1)[0] == 0.0


def test_copies_are_as_similar_to_others_however_products_are_rounded():
    # Of each image there are two, of two classes: genuine pairs and impostors are as similar.
    x = np.random.default_rng(0).normal(size=(150, 64))
    copies = np.concatenate([x, x])
    found = verification(copies, np.append(np.zeros(150), np.ones(150)))
    between = found.impostor_counts.copy()
    between[-1] -= 150  # a copy itself
    assert (between == found.genuine_counts).all()


def test_similarities_of_minus_one_zero_and_one_are_inside_a_bin():
    x = np.linalg.qr(np.random.default_rng(0).normal(size=(60, 60)))[0]
    found = verification(np.concatenate([x, -x, x]), np.arange(180) % 60 % 7)
    assert (np.flatnonzero(found.genuine_counts) == [0, (_BINS - 1) // 2, _BINS - 1]).all()
    thresholds, _, _ = found.roc()
    assert (np.abs(thresholds[1:] - [1, 0, -1]) < 2e-6).all()


def test_the_order_of_rows_and_blocks_does_not_matter(monkeypatch):
    x, labels = clustered(200, 5)
    whole = verification(x, labels)
    order = np.random.default_rng(1).permutation(200)
    module = importlib.import_module("dml.evaluation.verification")
    monkeypatch.setattr(module, "_BLOCK_BYTES", 12 * 200 * 7)
    done = []
    parts = verification(x[order], labels[order], advance=done.append)
    assert sum(done) == 200 and len(done) == 29
    assert parts.auc == pytest.approx(whole.auc, abs=1e-6)
    assert parts.eer == pytest.approx(whole.eer, abs=1e-6)


def test_rates_that_so_few_pairs_can_not_show_are_left_out():
    x, labels = clustered(40, 4)  # 600 impostors
    assert set(verification(x, labels).metrics()) == {
        "AUC", "EER", "TAR@FAR=0.1", "TAR@FAR=0.01",
    }  # fmt: skip


def test_says_what_is_wrong():
    x, labels = clustered(10, 2)
    with pytest.raises(ValueError, match="no pair of one class"):
        verification(x, np.arange(10))
    with pytest.raises(ValueError, match="no pair of two classes"):
        verification(x, np.zeros(10, int))
    x[3, 2] = np.nan
    with pytest.raises(ValueError, match="row 3 is not finite"):
        verification(x, labels)
    with pytest.raises(ValueError, match="far must be in"):
        verification(*clustered(10, 2)).at_far(2.0)
