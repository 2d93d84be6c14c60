"""Open-set identification by hand."""

import numpy as np
import pytest

from dml.evaluation import identification


def on_circle(*degrees):
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


GALLERY, GALLERY_LABELS = on_circle(0, 90, 180), ["a", "b", "c"]


def test_by_hand():
    # Two are right (10 and 30 degrees off), one is nearer to another; the others are 20 and 45 off.
    queries = on_circle(10, 120, 60, 200, 45)
    found = identification(queries, ["a", "b", "a", "x", "y"], GALLERY, GALLERY_LABELS)
    assert (found.mated, found.non_mated) == (3, 2)
    # None of the others may be found: the threshold is that of the nearest one, 20 degrees.
    fnir, threshold = found.at_fpir(0.0)
    assert fnir == pytest.approx(2 / 3) and threshold == pytest.approx(np.cos(np.radians(20)))
    assert found.at_fpir(0.5)[0] == pytest.approx(1 / 3)
    assert found.at_fpir(1.0) == (pytest.approx(1 / 3), -np.inf)


@pytest.mark.parametrize("dim", [8, 64, 256, 512])
def test_exact_copies_are_missed_however_products_are_rounded(dim):
    # Every query is a copy of one of the gallery, half of them under a class that is not there.
    gallery = np.random.default_rng(0).normal(size=(200, dim))
    labels = np.arange(200)
    queries = np.concatenate([gallery, gallery])
    found = identification(queries, np.append(labels, labels + 1000), gallery, labels)
    assert found.at_fpir(0.9)[0] == 1.0 and found.at_fpir(1.0)[0] == 0.0
    # A copy in the gallery under another class is as near as the right one.
    twice = np.concatenate([gallery, gallery]), np.append(labels, labels + 500)
    assert identification(queries, np.append(labels, labels + 1000), *twice).at_fpir(1.0)[0] == 1.0


def test_a_non_mated_query_as_near_as_a_mated_one_keeps_it_out():
    found = identification(on_circle(10, -10), ["a", "x"], GALLERY, GALLERY_LABELS)
    assert found.at_fpir(0.0)[0] == 1.0


@pytest.mark.parametrize(
    "labels, reason", [(["a", "b"], "all of the queries"), (["x", "y"], "no class in common")]
)
def test_an_open_set_has_both(labels, reason):
    with pytest.raises(ValueError, match=reason):
        identification(on_circle(1, 2), labels, GALLERY, GALLERY_LABELS)
