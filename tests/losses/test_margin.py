"""Tests specific to the margin loss: which pairs count, and by which weight."""

import numpy as np
import pytest
from keras import ops

from dml.losses import LOSSES, Matryoshka, MultipleLosses
from dml.ops import Targets

LABELS = np.array([0, 0, 0, 1, 1, 1])


def number(x):
    return float(ops.convert_to_numpy(x).squeeze())


def rows(boundary=1.0, count=6):
    """Returns unit vectors in float64, each with the boundary as its last column."""
    x = np.random.default_rng(4).normal(size=(count, 5))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return np.append(x, np.full((count, 1), boundary), axis=1)


def expected(positive, negative, x, margin=0.2):
    """Returns the mean of the active hinges of each pair, by its weights, pair by pair."""
    total = weight = 0.0
    for a in range(len(x)):
        for b in range(len(x)):
            d = np.linalg.norm(x[a, :-1] - x[b, :-1])
            for share, hinge in (
                (positive[a, b], margin + d - x[a, -1]),
                (negative[a, b], margin - d + x[a, -1]),
            ):
                total += share * max(0, hinge)
                weight += share * (hinge > 0)
    return total / weight


@pytest.mark.parametrize("per_class", [True, False])
@pytest.mark.parametrize("around", [None, MultipleLosses, Matryoshka])
def test_pairs_of_one_image_are_neither_positive_nor_negative(per_class, around):
    samples = np.array([5, 5, 6, 7, 8, 8])
    x, apart = rows(), samples[:, None] != samples[None, :]
    same = LABELS[:, None] == LABELS[None, :]
    loss = LOSSES["margin"](per_class=per_class)
    found, compared = loss, ops.cast(x, "float32")
    if around is not None:
        found = around([loss]) if around is MultipleLosses else around(loss, [5])
    targets = Targets.of({"labels": LABELS, "samples": samples})
    value = number(found.value(targets, compared if around is None else [compared]))
    assert value == pytest.approx(expected(same & apart, ~same & apart, x), rel=1e-5)
    if around is None:
        assert number(loss({"labels": LABELS, "samples": samples}, x)) == pytest.approx(value)
        share = number(loss.active_share(loss.labels_of(targets), compared))
        d = np.linalg.norm(x[:, None, :-1] - x[None, :, :-1], axis=2)
        active = (same & apart & (d > 0.8)).sum() + (~same & apart & (d < 1.2)).sum()
        assert share == pytest.approx(active / ((same & apart).sum() + (~same & apart).sum()))


def test_a_graded_relation_is_averaged_by_its_weights():
    graded = np.random.default_rng(1).random((6, 6))
    np.fill_diagonal(graded, 1)
    weights = graded * (1 - np.eye(6)), (1 - graded) * (1 - np.eye(6))
    found = number(LOSSES["margin"](per_class=False)(graded.astype("float32"), rows()))
    assert found == pytest.approx(expected(*weights, rows()), rel=1e-5)


def test_half_related_images_by_hand():
    # sqrt(2) apart with a boundary of 1: 0.2 + 0.414 of the positive half; the negative rests.
    x = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]])
    half = np.array([[1.0, 0.5], [0.5, 1.0]])
    found = number(LOSSES["margin"](per_class=False)(half, x))
    assert found == pytest.approx(2**0.5 - 0.8, rel=1e-5)
