"""Thresholds that keep their promise."""

import numpy as np
import pytest
from scipy.stats import binomtest

from dml.evaluation import threshold_for_far, threshold_for_precision, verification


def test_the_bound_is_clopper_and_pearsons():
    similarities = np.linspace(1, 0, 200)
    right = np.ones(200, bool)
    right[[50, 120, 160, 180, 190]] = False
    found = threshold_for_precision(similarities, right, 0.9)
    accepted = similarities >= found.similarity
    hits, count = int(right[accepted].sum()), int(accepted.sum())
    # A two-sided 90 % interval's lower end is a one-sided bound of 95 %.
    exact = binomtest(hits, count).proportion_ci(0.9, method="exact").low
    assert found.bound == pytest.approx(exact, rel=1e-6) and found.bound >= 0.9
    assert found.count == count and found.rate == pytest.approx(hits / count)
    assert found.coverage == pytest.approx(count / 200)


def test_it_keeps_its_promise_on_other_data():
    kept = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)

        def draw(rng=rng):
            s = rng.uniform(size=400)
            return s, rng.uniform(size=400) < s  # precision grows with similarity

        found = threshold_for_precision(*draw(), precision=0.8)
        kept += (1 + found.similarity) / 2 >= 0.8  # the true precision from there on
    assert kept >= 180


def test_ties_are_taken_in_together():
    similarities = np.array([0.9] * 40 + [0.5] * 40)
    right = np.array([True] * 40 + [True] * 20 + [False] * 20)
    assert threshold_for_precision(similarities, right, 0.9).similarity == 0.9


def test_ties_that_are_rounded_apart_are_taken_in_together():
    rng = np.random.default_rng(0)
    similarities = np.repeat([0.9, 0.5], 40) + rng.uniform(-2e-7, 2e-7, 80)
    right = np.arange(80) < 60
    similarities[40:60] = similarities[40:].max() + 1e-8  # the right ones a little nearer
    found = threshold_for_precision(similarities, right, 0.9)
    assert found.similarity == pytest.approx(0.9, abs=1e-6) and found.count == 40


def test_too_few_can_promise_nothing():
    assert threshold_for_precision([0.9, 0.8], [True, True], 0.9) is None
    x = np.random.default_rng(0).normal(size=(12, 4))
    assert threshold_for_far(verification(x, np.arange(12) % 3), 0.001) is None


def test_a_false_accept_rate_is_kept_with_confidence():
    rng = np.random.default_rng(0)
    labels = np.arange(600) % 6
    x = rng.normal(size=(6, 8))[labels] + rng.normal(size=(600, 8))
    pairs = verification(x, labels)
    found = threshold_for_far(pairs, 0.01)
    assert found.rate < found.bound <= 0.01
    assert found.similarity >= pairs.at_far(0.01)[1]


@pytest.mark.parametrize("options", [{"precision": 1.0}, {"precision": 0.5, "confidence": 0.0}])
def test_shares_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match=r"must be in \(0, 1\)"):
        threshold_for_precision([0.5], [True], **options)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="as many"):
        threshold_for_precision([0.5], [True, False], 0.5)
    with pytest.raises(ValueError, match="row 1 is not finite"):
        threshold_for_precision([0.5, np.nan], [True, False], 0.5)
