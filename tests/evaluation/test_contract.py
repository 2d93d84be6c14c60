"""The contract of every retrieval metric, on easy, hard, tied and collapsing embeddings."""

import inspect

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import torch

from dml import evaluation
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


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_order_of_rows_has_no_effect(kind):
    x, labels = embeddings(kind, rows=2200, dim=64)  # more than are searched at once
    order = np.random.default_rng(1).permutation(len(x))
    straight, turned = retrieval(x, labels), retrieval(x[order], labels[order])
    assert (straight.first_positive[order] == turned.first_positive).all()


X = np.eye(4)[[0, 0, 1, 1, 2, 2]] + 0.1
LABELS = [5, 5, 6, 6, 7, 7]
EVERY_FIGURE = {
    "retrieval": lambda y: evaluation.retrieval(X, y, ks=(1,)).recall,
    "gallery": lambda y: evaluation.retrieval(X, y, (1,), gallery=X, gallery_labels=y).recall,
    "verification": lambda y: evaluation.verification(X, y).metrics(),
    "clustering": lambda y: evaluation.clustering(X, y, seeds=1).metrics(),
    "threshold": lambda y: evaluation.threshold_clustering(X, y, 0.9).metrics(),
    "few_shot": lambda y: evaluation.few_shot(X, y, ways=2, episodes=5).accuracy,
    "embedding_statistics": lambda y: evaluation.embedding_statistics(X, y),
    "find_label_issues": lambda y: evaluation.find_label_issues(X, y, neighbours=2).duplicates,
    "knn": lambda y: evaluation.knn_evaluation(X, y, X, y, ks=(1,)),
    "linear": lambda y: evaluation.linear_evaluation(X, y, X, y).metrics(),
    "identification": lambda y: evaluation.identification(X, y, X[:4], y[:4]).metrics(),
}


@pytest.mark.parametrize("name", EVERY_FIGURE)
def test_labels_are_any_array_like(name):
    figure = EVERY_FIGURE[name]
    expected = figure(np.array(LABELS))
    for labels in (torch.tensor(LABELS), tf.constant(LABELS), pd.Series(LABELS), LABELS):
        assert figure(labels) == expected
    assert figure([str(label) for label in LABELS]) == expected
    assert figure([("a", label) for label in LABELS]) == expected


@pytest.mark.parametrize("name", EVERY_FIGURE)
@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_missing_label_is_refused(name, nothing):
    with pytest.raises(ValueError, match=r"labels: row 3 has no label"):
        EVERY_FIGURE[name]([5, 5, 6, nothing, 7, 7])


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_a_missing_key_leaves_nothing_out(nothing):
    keys = [nothing] * 6
    assert evaluation.retrieval(X, LABELS, (1,), exclude=keys).recall == {1: 1.0}
    with pytest.raises(ValueError, match="no query has a positive: `exclude` takes all"):
        evaluation.retrieval(X, LABELS, (1,), exclude=LABELS)


@pytest.mark.parametrize("other", [["5", "6"] * 3, [8, 9] * 3])
def test_no_class_in_common_is_the_reason(other):
    for figure in (
        lambda: evaluation.retrieval(X, LABELS, gallery=X, gallery_labels=other),
        lambda: evaluation.identification(X, LABELS, X, other),
        lambda: evaluation.knn_evaluation(X, LABELS, X, other, ks=(1,)),
        lambda: evaluation.linear_evaluation(X, LABELS, X, other),
        lambda: evaluation.retrieval(
            X, [{v} for v in LABELS], gallery=X, gallery_labels=[{v} for v in other]
        ),
    ):
        with pytest.raises(ValueError, match="no class in common"):
            figure()


def test_every_public_function_is_annotated():
    for name in evaluation.__all__:
        part = getattr(evaluation, name)
        methods = (
            [part]
            if inspect.isfunction(part)
            else [
                method
                for key, method in vars(part).items()
                if inspect.isfunction(method) and not key.startswith("_")
            ]
        )
        for function in methods:
            parameters = inspect.signature(function).parameters
            known = set(function.__annotations__)
            assert {*parameters, "return"} - {"self"} <= known, f"{name}: {function}"
