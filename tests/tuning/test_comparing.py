"""The best trial: intervals over the validation classes, and the reason if there is none."""

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from dml.errors import DataError
from dml.runs._selection import Scores
from dml.tuning import Trial
from dml.tuning._comparing import best_trial, gain_of, interval_of

LABELS = np.repeat(np.arange(8), 4)


def found(spread):
    """Returns the scores of embeddings around one direction for each class."""
    rng = np.random.default_rng(0)
    vectors = np.eye(8)[LABELS] + spread * rng.normal(size=(32, 8))
    return Scores.of(vectors, LABELS, None)


def score_interval(shares):
    """Returns Wilson's interval of a mean over 8 classes of 4, by the classes' variance."""
    means = shares.reshape(8, 4).mean(axis=1)
    p, t = means.mean(), stats.t.ppf(0.975, df=7)
    size = p * (1 - p) / (means.var(ddof=1) / 8) / t**2  # effective, over the squared quantile
    centre, half = p + 1 / (2 * size), np.sqrt(p * (1 - p) / size + 1 / (4 * size**2))
    return np.array([centre - half, centre + half]) / (1 + 1 / size)


def test_the_interval_is_of_recall_over_classes():
    result = found(0.4)
    low, high = interval_of(result)
    np.testing.assert_allclose([low, high], score_interval(result.hits))
    assert 0 < low < result.recall < high < 1


def test_the_gain_is_of_pairs_of_queries():
    first, best = found(0.6), found(0.3)
    gain = gain_of(best, first)
    gaps = best.hits - first.hits
    expected = 2 * score_interval((gaps + 1) / 2) - 1  # gaps are in [-1, 1]
    assert gain.value == pytest.approx(gaps.mean()) and gain.value > 0
    np.testing.assert_allclose([gain.low, gain.high], expected)


def trial(number, state="complete", score=0.9, reason=""):
    run = Path(f"tune/x/trials/{number:04d}")
    return Trial(number, "full", not number, state, {}, score, 1.0, reason, run)


@pytest.mark.parametrize(
    "trials, reason",
    [
        ((trial(0, "interrupted", None),), "the time was over"),
        (
            (trial(0, "pruned"), trial(1, "failed", None, "a"), trial(2, "failed", None, "b")),
            "trial 1 failed: a",
        ),
    ],
)
def test_without_a_complete_trial_the_first_reason_is_given(trials, reason):
    with pytest.raises(DataError, match=f"no trial was completed: {reason}; `dml tune tune/x --re"):
        best_trial(Path("tune/x"), trials)
