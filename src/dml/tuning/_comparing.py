"""The best trial, and how certain it is that it is better."""

from pathlib import Path

from dml.errors import DataError
from dml.evaluation.intervals import class_interval
from dml.runs._selection import Scores
from dml.tuning._trials import Trial, best_of
from dml.tuning.study import Gain


def best_trial(path: Path, trials: tuple[Trial, ...]) -> Trial:
    """Returns the best of a study's trials.

    Args:
        path: The study's folder.
        trials: All of them.

    Raises:
        DataError: None was completed.
    """
    best = best_of(trials)
    if best is None:
        failed = next((trial for trial in trials if trial.state == "failed"), None)
        why = f"trial {failed.number} failed: {failed.reason}" if failed else "the time was over"
        raise DataError(
            path, f"no trial was completed: {why}; `dml tune {path} --resume` continues the study"
        )
    return best


def interval_of(best: Scores) -> tuple[float, float]:
    """Returns the 95 % interval of R@1 for other classes."""
    low, high = class_interval(best.hits[:, None], best.classes)[:, 0].tolist()
    return low, high


def gain_of(best: Scores, first: Scores) -> Gain:
    """Returns what the best trial gains over the first, on the same queries."""
    gaps = (best.hits - first.hits)[:, None]
    low, high = class_interval(gaps, best.classes, lowest=-1.0)[:, 0].tolist()
    return Gain(float(gaps.mean()), low, high)
