"""Bootstrap intervals by class."""

import numpy as np

from dml.evaluation.intervals import bootstrap


def test_cover_the_true_mean_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    covered = 0
    for trial in range(200):
        centres = rng.normal(size=40)  # queries of a class share most of their value
        values = np.repeat(centres, 5) + 0.1 * rng.normal(size=200)
        low, high = bootstrap(values[:, None], np.repeat(np.arange(40), 5), 200, seed=trial)
        covered += low[0] <= 0 <= high[0]
    assert 0.88 <= covered / 200 <= 0.99


def test_classes_weigh_by_their_queries():
    values = np.array([1.0] * 9 + [0.0])[:, None]
    low, high = bootstrap(values, [0] * 9 + [1], repeats=500)
    assert low == 0 and high == 1
    low, high = bootstrap(values, [0] * 10, repeats=50)
    assert low == high == 0.9


def test_the_seed_decides():
    values, codes = np.random.default_rng(0).random((50, 2)), np.arange(50) // 3
    assert (bootstrap(values, codes, 50, seed=1) == bootstrap(values, codes, 50, seed=1)).all()
    assert (bootstrap(values, codes, 50, seed=1) != bootstrap(values, codes, 50, seed=2)).any()


def test_more_repeats_than_are_drawn_at_once():
    values, codes = np.random.default_rng(0).random((30, 1)), np.arange(30) // 3
    assert bootstrap(values, codes, repeats=250).shape == (2, 1)
