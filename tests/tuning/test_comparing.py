"""The best trial: intervals over the validation classes, and the reason if there is none."""

from pathlib import Path

import numpy as np
import pytest

from dml.errors import DataError
from dml.evaluation.intervals import class_interval
from dml.runs._selection import Scores
from dml.tuning import Trial
from dml.tuning._comparing import best_trial, gain_of, interval_of

LABELS = np.repeat(np.arange(8), 4)


def found(spread):
    """Returns the scores of embeddings around one direction for each class."""
    rng = np.random.default_rng(0)
    vectors = np.eye(8)[LABELS] + spread * rng.normal(size=(32, 8))
    return Scores.of(vectors, LABELS, None)


def test_the_interval_is_of_recall_over_classes():
    result = found(0.4)
    low, high = interval_of(result)
    expected = class_interval(result.hits[:, None], LABELS)[:, 0]
    np.testing.assert_allclose([low, high], expected)
    assert 0 < low < result.recall < high < 1


def test_the_gain_is_of_pairs_of_queries():
    first, best = found(0.6), found(0.3)
    gain = gain_of(best, first)
    gaps = best.hits - first.hits
    expected = class_interval(gaps[:, None], LABELS, lowest=-1.0)[:, 0]
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
