"""Intervals of means for other classes."""

import numpy as np
import pytest
from scipy.stats import binomtest

from dml.errors import ArrayError
from dml.evaluation.intervals import class_interval


def planted(rng, classes, level, spread, sizes):
    """Returns hits and classes of queries, of classes whose own levels differ."""
    rest = 1 / spread**2 - 1
    own = rng.beta(level * rest, (1 - level) * rest, classes)
    codes = np.repeat(np.arange(classes), sizes)
    return (rng.random(len(codes)) < own[codes]).astype("float64")[:, None], codes


@pytest.mark.parametrize("classes", [10, 20])
@pytest.mark.parametrize("level", [0.6, 0.9])
@pytest.mark.parametrize("uneven", [False, True])
def test_hold_the_truth_as_often_as_they_say(classes, level, uneven):
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(400):
        sizes = rng.integers(4, 40, classes) if uneven else np.full(classes, 20)
        low, high = class_interval(*planted(rng, classes, level, 0.3, sizes))
        held += low[0] <= level <= high[0]
    assert 0.92 <= held / 400 <= 0.99


def test_where_classes_do_not_differ_it_is_wilsons_of_the_queries():
    # 5 queries of each of 2,000 classes, as if each were drawn by itself.
    rng = np.random.default_rng(0)
    values = (rng.random(10_000) < 0.97).astype("float64")[:, None]
    low, high = class_interval(values, np.arange(10_000) // 5)
    exact = binomtest(int(values.sum()), 10_000).proportion_ci(method="wilson")
    assert low[0] == pytest.approx(exact.low, abs=4e-4)
    assert high[0] == pytest.approx(exact.high, abs=4e-4)


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_classes_that_are_all_right_or_all_wrong_are_one_observation_each(right):
    low, high = class_interval(np.full((60, 1), right), np.arange(60) // 6)
    # Wilson's of 10 of 10, by Student's t of 9 degrees of freedom, 2.262.
    assert (high - low)[0] == pytest.approx(2.262**2 / (10 + 2.262**2), abs=1e-4)
    assert right in (low[0], high[0])


def test_one_class_says_nothing_and_two_say_little():
    values = np.array([1.0] * 9 + [0.0])[:, None]
    assert class_interval(values, [0] * 10).ravel().tolist() == [0, 1]
    low, high = class_interval(values, [0] * 9 + [1])
    assert low < 0.05 and high > 0.95


def test_differences_have_a_range_of_their_own():
    rng = np.random.default_rng(0)
    codes = np.arange(300) // 10
    gaps = rng.choice([-1.0, 0.0, 0.0, 1.0, 1.0], size=(300, 1))
    low, high = class_interval(gaps, codes, lowest=-1.0)
    assert -1 <= low < gaps.mean() < high <= 1
    turned = class_interval(-gaps, codes, lowest=-1.0)
    np.testing.assert_allclose(turned[::-1], [-low, -high], atol=1e-12)
    assert class_interval(np.zeros((300, 1)), codes, lowest=-1.0).ravel().tolist() == [0, 0]
    percent = class_interval(100 * np.abs(gaps), codes, highest=100.0)
    np.testing.assert_allclose(percent, 100 * class_interval(np.abs(gaps), codes), rtol=1e-9)


@pytest.mark.parametrize("wrong, lowest", [(1.5, 0), (-0.1, 0), (np.nan, 0), (-1.5, -1)])
def test_values_outside_of_the_range_are_refused(wrong, lowest):
    with pytest.raises(ArrayError, match=rf"values must be in \[{lowest}, 1\], .* got {wrong:g}"):
        class_interval([[1.0], [wrong], [0.0]], [0, 1, 2], lowest=lowest)
    rounded = class_interval([[1 + 1e-15], [0.5], [0.0]], [0, 1, 2])
    np.testing.assert_allclose(rounded, class_interval([[1.0], [0.5], [0.0]], [0, 1, 2]))


def test_metrics_that_are_not_shares_of_hits_have_narrower_intervals():
    codes = np.arange(200) // 10
    values = 0.5 + 0.01 * np.random.default_rng(0).normal(size=(200, 1))
    low, high = class_interval(values, codes)
    assert (high - low)[0] < 0.01 and low < values.mean() < high
