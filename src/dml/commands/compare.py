"""`dml compare`: runs side by side, and which of their differences are real."""

import argparse
import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from dml._console.runtime import Runtime
from dml._storage.run_folder import RunFolder
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.commands.evaluate import dataset_label, evaluation_name, evaluation_recipe, read_vectors
from dml.datasets import RecordedItems
from dml.recipe import load_run_recipe, options_of, toml_value
from dml.reporting import Reporter

KS = (1, 2, 4, 8)
TABLED = ("R@1", "MAP@R")


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What `dml evaluate` left of one run.

    Args:
        name: The run's folder.
        dataset: What the data set is called.
        images: Strings (N,): id and, of the run's own data set, SHA-256 of each image.
        figures: Names of the figures (M,).
        values: Floats (scored queries, M): the figures of each query.
        classes: Integers (scored queries,).
    """

    name: str
    dataset: str
    images: np.ndarray
    figures: tuple
    values: np.ndarray
    classes: np.ndarray


def compare(runs, on=None, flags=(), allow_parts=False, report=print):
    """Compares runs with the first of them, query by query, on the same test images.

    The interval of a difference is that of its mean over the queries, each paired with itself, for
    other test classes (`class_interval`). It is called real where 0 is outside its 95 % interval.
    It says nothing of what another seed would have given: compare several.

    Args:
        runs: At least two run folders, each evaluated on the same data set.
        on: The data set that they were evaluated on; by default their own.
        flags: `--dataset.option value` of that evaluation.
        allow_parts: Whether to import the Python files that runs' recipes list under `parts`.
        report: Called with each line of text for the user.

    Returns:
        {run: {figure: {"value", "difference", "low", "high", "real"}}} of all but the first.

    Raises:
        ValueError: There are fewer than two runs, or their test images differ.
        FileNotFoundError: A run is not evaluated on that data set.
    """
    from dml.evaluation import class_interval

    if len(runs) < 2:
        raise ValueError("a comparison needs two runs or more")
    first, *others = all_evaluated(runs, on, flags, allow_parts)
    report(f"{first.dataset}: {len(first.values):,} queries; differences from {first.name}")
    report(f"{'':14}{first.name[-20:]:>22}")
    for figure, value in zip(first.figures, first.values.mean(axis=0), strict=True):
        report(f"{figure:14}{100 * value:22.1f}")
    result = {}
    for other in others:
        gaps = other.values - first.values
        ends = class_interval(gaps, first.classes, lowest=-1.0)
        rows = zip(other.figures, other.values.mean(axis=0), gaps.mean(axis=0), *ends, strict=True)
        report(f"{'':14}{other.name[-20:]:>22}  difference   95 % interval")
        result[other.name] = {}
        for figure, value, gap, low, high in rows:
            real = bool(low > 0 or high < 0)
            result[other.name][figure] = {
                "value": float(value),
                "difference": float(gap),
                "low": float(low),
                "high": float(high),
                "real": real,
            }
            verdict = "" if real else "  could be chance"
            report(
                f"{figure:14}{100 * value:22.1f}{100 * gap:+12.1f}"
                f"{100 * low:+9.1f} to {100 * high:+5.1f}{verdict}"
            )
    return result


def all_evaluated(runs, on, flags, allow_parts):
    """Reads the evaluations of runs.

    Raises:
        FileNotFoundError: A run is not evaluated on that data set.
        ValueError: They are of different images.
    """
    first, *others = found = [load_evaluated(run, on, flags, allow_parts) for run in runs]
    for other in others:
        if not np.array_equal(other.images, first.images):
            raise ValueError(
                f"{other.name} and {first.name} are evaluated on different images: evaluate both "
                "on the same data set, `dml evaluate RUN --on DATASET`"
            )
    return found


def load_evaluated(run, on, flags, allow_parts):
    """Reads a run's evaluation and scores its queries.

    Raises:
        FileNotFoundError: It was not evaluated on that data set.
        ValueError: Its files are damaged, or don't belong together.
    """
    import pandas as pd

    from dml.evaluation import retrieval

    run_folder = RunFolder(run).open()
    recipe = evaluation_recipe(run_folder, on, flags, allow_parts)
    folder = run_folder.evaluation(evaluation_name(recipe, on))
    vectors_file, items_file = folder / "vectors.npy", folder / "items.parquet"
    if not vectors_file.exists() or not items_file.exists():
        raise FileNotFoundError(
            f"{run} is not evaluated on {on or 'its own data set'}: run "
            f"`dml evaluate {run}{f' --on {on}' if on else ''}` first"
        )
    try:
        items = pd.read_parquet(run_folder.checked(items_file), columns=["id", "class", "split"])
    except (OSError, NotImplementedError) as error:  # pyarrow's are of these, or ValueErrors
        raise ValueError(f"{items_file}: damaged; evaluate the run again ({error})") from None
    vectors = read_vectors(run_folder.checked(vectors_file), len(items))
    images = items["id"].astype(str)
    if on is None:  # folders of one layout have the same ids
        recorded = RecordedItems.read(run_folder.checked(run_folder.items))
        images += " " + images.map(dict(zip(recorded.items.ids, recorded.digests, strict=True)))
    labels, queries = items["class"].to_numpy(), (items["split"] == "query").to_numpy()
    gallery = ()
    if queries.any():
        gallery = vectors[~queries], labels[~queries]
        vectors, labels = vectors[queries], labels[queries]
    try:
        found = retrieval(vectors, labels, KS, *gallery)
    except ValueError as error:
        raise ValueError(f"{run}: {error}") from None
    return Evaluated(
        name=str(run),
        dataset=dataset_label(recipe),
        images=images.to_numpy(),
        figures=tuple(found.per_query),
        values=np.stack(list(found.per_query.values()), axis=1),
        classes=found.classes,
    )


def tabulate(runs, on=None, flags=(), allow_parts=False, report=print):
    """Reports a Markdown table of runs, the best first; runs of other seeds share a row.

    Each figure is the mean over the seeds, ± their standard deviation, with the 95 % interval of
    that mean for other test classes.

    Args:
        runs: Run folders, each evaluated on the same data set.
        on: The data set that they were evaluated on; by default their own.
        flags: `--dataset.option value` of that evaluation.
        allow_parts: Whether to import the Python files that runs' recipes list under `parts`.
        report: Called with each line of text for the user.

    Raises:
        ValueError: Their test images differ.
        FileNotFoundError: A run is not evaluated on that data set.
    """
    from dml.evaluation import class_interval

    recipes = [load_run_recipe(RunFolder(run).open(), (), allow_parts) for run in runs]
    rows = {}
    found = all_evaluated(runs, on, flags, allow_parts)
    for recipe, one in zip(recipes, found, strict=True):
        seedless = replace(recipe, training=replace(recipe.training, seed=0))
        rows.setdefault(seedless.to_toml(), (recipe, []))[1].append(one)
    classes = found[0].classes  # those of all: the images are the same
    report(f"{found[0].dataset}: {len(classes):,} queries of {len(np.unique(classes)):,} classes")
    report("")
    columns = "".join(f" {figure} | 95 % interval |" for figure in TABLED)
    report(f"| run | loss | seeds |{columns}")
    report(f"|---|---|---|{'---|---|' * len(TABLED)}")
    lines = []
    for recipe, seeds in rows.values():
        places = [seeds[0].figures.index(figure) for figure in TABLED]
        # (seeds, queries, figures)
        values = 100 * np.stack([one.values[:, places] for one in seeds])
        ends = class_interval(values.mean(axis=0), classes, highest=100.0)
        line = f"| {shared_name(seeds)} | {loss_in_words(recipe)} | {len(seeds)} |"
        for by_seed, low, high in zip(values.mean(axis=1).T, *ends, strict=True):
            spread = f" ± {by_seed.std(ddof=1):.1f}" if len(seeds) > 1 else ""
            line += f" {by_seed.mean():.1f}{spread} | {low:.1f} - {high:.1f} |"
        lines.append((-values[..., 0].mean(), line))
    for _, line in sorted(lines):
        report(line)


def shared_name(runs):
    """Returns the name of a run's folder; of several runs, the first one's without its number."""
    name = Path(runs[0].name).name
    return re.sub(r"\W?\d+$", "", name) or name if len(runs) > 1 else name


def loss_in_words(recipe):
    """Returns the losses of a recipe and the options in which they differ from their defaults."""
    said = []
    for section in ("loss", "auxiliary_loss"):
        part = getattr(recipe, section)
        if part is None:
            continue
        values = {o.name: (getattr(part, o.name), o.default) for o in options_of(type(part))}
        words = [f"{name} {toml_value(v)}" for name, (v, default) in values.items() if v != default]
        name = recipe.names[section]
        said.append(f"{name}: {', '.join(words)}" if words else name)
    return " + ".join(said)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="the first is what others differ from"
    )
    parser.add_argument(
        "--table", action="store_true", help="a Markdown table; runs of other seeds share a row"
    )
    parser.add_argument("--on", metavar="DATASET", help="default: the runs' own")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    (tabulate if options.table else compare)(
        options.runs,
        options.on,
        options.flags,
        allow_parts=options.allow_parts,
        report=reporter.info,
    )


COMMAND = Command(
    "compare",
    "put evaluated runs side by side and say which differences are real",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
    takes_flags=True,
)
