"""`dml compare`: compares runs, and shows which differences are significant."""

import argparse
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dml._console.runtime import Runtime
from dml._text import number_of
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.errors import OptionError
from dml.reporting import Reporter

if TYPE_CHECKING:
    from dml.recipe import Recipe
    from dml.runs._comparison import ScoredRun

_TABLED = ("R@1", "MAP@R")
_EPILOG = """With --on, options of the data set are flags, too, as in its evaluation:
--dataset.test_fraction 0.5."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="the first is the reference")
    parser.add_argument(
        "--table", action="store_true", help="a Markdown table; seeds of one setting share a row"
    )
    parser.add_argument(
        "--on", metavar="DATASET", help="data set of the evaluations (default: the runs' own)"
    )
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.runs._comparison import read_scored_runs

    if len(options.runs) < 2 and not options.table:
        raise OptionError("RUN", "must be given at least twice")
    runs = read_scored_runs(options.runs, options.on, options.flags, options.allow_parts)
    for line in _table(runs) if options.table else _differences(runs):
        reporter.info(line)


def _differences(runs: Sequence["ScoredRun"]) -> Iterator[str]:
    """Yields the metrics of the first run, and how the others differ from it."""
    from dml.runs._comparison import differences

    first, *others = runs
    yield f"{first.dataset}: {number_of(len(first.values), 'query')}; differences from {first.name}"
    yield f"{'':14}{first.name[-20:]:>22}{'frozen' if first.frozen else '':>12}"
    for metric, value in first.means.items():
        yield f"{metric:14}{100 * value:22.1f}{_frozen(first, metric):>12}"
    for other in others:
        own = other.frozen != first.frozen  # of another network
        head = f"{'frozen' if own else '':>10}"
        yield f"{'':14}{other.name[-20:]:>22}  difference   95 % interval{head}".rstrip()
        for metric, found in differences(first, other).items():
            frozen = f"{_frozen(other, metric):>8}" if own else ""
            verdict = "" if found.is_real else "  could be chance"
            yield (
                f"{metric:14}{100 * found.value:22.1f}{100 * found.difference:+12.1f}"
                f"{100 * found.low:+9.1f} to {100 * found.high:+5.1f}{frozen}{verdict}"
            )


def _table(runs: Sequence["ScoredRun"]) -> Iterator[str]:
    """Yields a Markdown table with a row for each setting, the best first."""
    from dml.runs._comparison import summarize_settings

    classes = runs[0].classes  # of all runs: the images are the same
    of_classes = number_of(len(set(classes.tolist())), "class")
    yield f"{runs[0].dataset}: {number_of(len(classes), 'query')} of {of_classes}"
    yield ""
    columns = "".join(f" {metric} | 95 % interval | frozen |" for metric in _TABLED)
    yield f"| run | loss | trained | seeds |{columns}"
    yield f"|---|---|---|---|{'---|---|---|' * len(_TABLED)}"
    settings = summarize_settings(runs)
    for setting in sorted(settings, key=lambda setting: -setting.metrics[_TABLED[0]].mean):
        row = f"| {_shared_name(setting.runs)} | {_loss(setting.runs[0].recipe)} "
        row += f"| {setting.runs[0].parameters or ''} | {len(setting.runs)} |"
        for metric in _TABLED:
            one = setting.metrics[metric]
            spread = "" if one.deviation is None else f" ± {100 * one.deviation:.1f}"
            row += f" {100 * one.mean:.1f}{spread} | {100 * one.low:.1f} - {100 * one.high:.1f} |"
            row += f" {_frozen(setting.runs[0], metric)} |"
        yield row


def _frozen(run: "ScoredRun", metric: str) -> str:
    """Returns a metric of the frozen network that a run began with, in percent."""
    value = run.frozen.get(metric)
    return "" if value is None else f"{100 * value:.1f}"


def _shared_name(runs: Sequence["ScoredRun"]) -> str:
    """Returns the name of a run's folder; of several, the first one's without its number."""
    name = Path(runs[0].name).name
    return re.sub(r"\W?\d+$", "", name) or name if len(runs) > 1 else name


def _loss(recipe: "Recipe") -> str:
    """Returns the losses of a recipe and their options that differ from the defaults."""
    from dml.recipe import options_of, toml_value

    losses = []
    for section in ("loss", "auxiliary_loss"):
        part = getattr(recipe, section)
        if part is None:
            continue
        values = {o.name: (getattr(part, o.name), o.default) for o in options_of(type(part))}
        changed = [f"{name} {toml_value(v)}" for name, (v, old) in values.items() if v != old]
        name = recipe.names[section]
        losses.append(f"{name}: {', '.join(changed)}" if changed else name)
    return " + ".join(losses)


COMMAND = Command(
    "compare",
    "compare evaluated runs, and show which differences are significant",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
)
