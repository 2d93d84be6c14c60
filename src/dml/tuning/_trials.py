"""The trials of a study, and the table of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from dml._console.table import table_lines
from dml.recipe import toml_value
from dml.tuning._ranges import Value

_RATES = ("learning_rate", "head_learning_rate")


@dataclass(frozen=True)
class Trial:
    """A training of a study.

    Args:
        number: From 0.
        stage: Its `training.stage`.
        own: Whether its options are the recipe's own.
        state: `complete`; `pruned`, for a validation curve below the median; `failed`; `running`;
            or `interrupted`, which another process or `Tuner.resume` continues.
        options: {"section.option": value} that it drew.
        score: R@1 in validation, in [0, 1], of the result; of a trial that was pruned, the best
            until then. None if nothing was validated.
        seconds: Its time.
        reason: Why it failed.
        run: The folder of its run.
    """

    number: int
    stage: str
    own: bool
    state: str
    options: Mapping[str, Value]
    score: float | None
    seconds: float
    reason: str
    run: Path


HEAD = f"{'trial':>5} {'stage':>6} {'R@1':>6} {'time':>8}"


def best_of(trials: Sequence[Trial]) -> Trial | None:
    """Returns the complete trial with the highest score, the first of several; None without one."""
    complete = [trial for trial in trials if trial.state == "complete"]
    return max(complete, key=_score, default=None)


def lines_of(trials: Sequence[Trial]) -> Iterator[str]:
    """Yields a table of the trials, the best first."""
    ranked = sorted(trials, key=lambda trial: (trial.state != "complete", -_score(trial)))
    yield from table_lines((*HEAD.split(), "options"), map(_cells, ranked))


def trial_line(trial: Trial) -> str:
    """Returns a line about a trial, whose columns are below those of `HEAD`."""
    number, stage, score, seconds, options = _cells(trial)
    return f"{number:>5} {stage:>6} {score:>6} {seconds:>8}  {options}"


def _cells(trial: Trial) -> list[str]:
    score = "" if trial.score is None else f"{100 * trial.score:.1f}"
    note = "" if trial.state == "complete" else f"{trial.state}: "
    if trial.reason:
        note = f"{trial.state}, {trial.reason}: "
    options = "the recipe's own options" if trial.own else ", ".join(_options(trial))
    return [f"{trial.number}", trial.stage, score, f"{trial.seconds:.0f} s", f"{note}{options}"]


def tab_separated(trials: Sequence[Trial]) -> str:
    """Returns a file with a row for each trial in order and a column for each option."""
    options = dict.fromkeys(option for trial in trials for option in trial.options)
    options.pop("training.stage", None)  # it has a column
    rows = [["trial", "stage", "state", "val_recall_at_1", "seconds", *options, "reason"]]
    for trial in trials:
        known = [trial.number, trial.stage, trial.state, trial.score, round(trial.seconds, 1)]
        drawn = [trial.options.get(option) for option in options]
        rows.append(["" if v is None else _cell(v) for v in (*known, *drawn, trial.reason)])
    return "".join("\t".join(row) + "\n" for row in rows)


def _cell(value):
    return " ".join(str(value).split())


def _options(trial):
    """Yields the options that a trial drew, shortly."""
    for name, value in trial.options.items():
        section, _, option = name.partition(".")
        if name == "training.stage":
            continue
        if option == "name":
            yield f"{section} {value}"
        else:
            number = f"{value:.3g}" if isinstance(value, float) else toml_value(value)
            yield f"{name if option in _RATES else option} {number}"


def _score(trial):
    return -1.0 if trial.score is None else trial.score
