"""What every retrieval figure promises, on easy, hard, tied and collapsing embeddings."""

import numpy as np
import pytest

from dml.evaluation import retrieval
from tests.evaluation import reference

FIGURES = ("R@1", "R@2", "R@4", "R@8", "R-precision", "MAP@R")


def embeddings(kind, rows=240, dim=16, seed=0):
    """Returns unit float32 vectors and labels whose classes differ in size, some with one row."""
    rng = np.random.default_rng(seed)
    labels = np.minimum(rng.geometric(0.12, rows), 40)
    centres = rng.normal(size=(41, dim))[labels]
    noise = rng.normal(size=(rows, dim))
    x = {
        "easy": centres + 0.2 * noise,
        "hard": centres + 3 * noise,
        "duplicates": (centres + noise)[rng.integers(0, rows // 8, rows)],
        "grid": np.round(centres + noise) + 1e-3,
        "collapsing": 1 + 1e-3 * noise,  # similarities differ by about the tolerance of ties
        "collapsed": np.ones((rows, dim)),
    }[kind]
    return reference.unit(x).astype("float32"), labels


KINDS = ["easy", "hard", "duplicates", "grid", "collapsing", "collapsed"]


def per_query(found):
    return np.stack([found.per_query[name] for name in FIGURES])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("itself", [True, False])
def test_equals_loops(kind, itself):
    x, labels = embeddings(kind)
    split = () if itself else (x[100:], labels[100:])
    rows = slice(None) if itself else slice(100)
    found = (
        retrieval(x[rows], labels[rows], gallery=split and split[0], gallery_labels=labels[100:])
        if split
        else retrieval(x, labels)
    )
    ranks = reference.ranks_of_positives(x[rows], labels[rows], *split)
    assert found.first_positive.tolist() == [r[0] if r else 0 for r in ranks]
    expected = [reference.r_precision(ranks), reference.map_at_r(ranks)]
    assert [found.r_precision, found.map_at_r] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_order_of_rows_has_no_effect(kind):
    x, labels = embeddings(kind, rows=3000, dim=64)
    order = np.random.default_rng(1).permutation(len(x))
    straight, turned = retrieval(x, labels), retrieval(x[order], labels[order])
    assert (straight.first_positive[order] == turned.first_positive).all()
