"""`dml compare`: runs side by side, and which of their differences are real."""

from dataclasses import dataclass

import numpy as np

from dml.folders import RunFolder
from dml.recipe import load_recipe

KS = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class Evaluated:
    """What `dml evaluate` left of one run.

    Args:
        name: The run's folder.
        ids: Strings (N,): the images.
        figures: Names of the figures (M,).
        values: Floats (scored queries, M): the figures of each query.
        classes: Integers (scored queries,).
    """

    name: str
    ids: np.ndarray
    figures: tuple
    values: np.ndarray
    classes: np.ndarray


def compare(runs, on=None, repeats=10_000, report=print):
    """Compares runs with the first of them, query by query, on the same test images.

    The interval of a difference is a paired bootstrap: classes are drawn again, and with a class
    all its queries in both runs. A difference is called real where 0 is outside its 95 % interval.
    It says nothing of what another seed would have given: compare several.

    Args:
        runs: At least two run folders, each evaluated on the same data set.
        on: The data set; by default that of the first run.
        repeats: Resamples; positive.
        report: Called with each line of text for the user.

    Returns:
        {run: {figure: {"value", "difference", "low", "high", "real"}}} of all but the first.

    Raises:
        ValueError: There are fewer than two runs, or their test images differ.
        FileNotFoundError: A run is not evaluated on that data set.
    """
    from dml.evaluation.intervals import bootstrap

    if len(runs) < 2:
        raise ValueError("a comparison needs two runs or more")
    on = on or load_recipe(RunFolder(runs[0]).open().recipe).names["dataset"]
    first, *others = [load_evaluated(run, on) for run in runs]
    for other in others:
        if other.ids.shape != first.ids.shape or (other.ids != first.ids).any():
            raise ValueError(
                f"{other.name} and {first.name} are evaluated on different images of {on}: "
                "evaluate both with the same --dataset options"
            )
    report(f"{on}: {len(first.values):,} queries; differences from {first.name}")
    report(f"{'':14}{first.name[-20:]:>22}")
    for figure, value in zip(first.figures, first.values.mean(axis=0), strict=True):
        report(f"{figure:14}{100 * value:22.1f}")
    result = {}
    for other in others:
        gaps = other.values - first.values
        ends = bootstrap(gaps, first.classes, repeats)
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


def load_evaluated(run, on):
    """Reads a run's evaluation and scores its queries.

    Raises:
        FileNotFoundError: It was not evaluated on that data set.
        ValueError: Its files don't belong together.
    """
    import pandas as pd

    from dml.evaluation import retrieval

    folder = RunFolder(run).open().evaluation(on)
    vectors_file, items_file = folder / "vectors.npy", folder / "items.parquet"
    if not vectors_file.exists() or not items_file.exists():
        raise FileNotFoundError(
            f"{run} is not evaluated on {on}: run `dml evaluate {run} --on {on}` first"
        )
    vectors, items = np.load(vectors_file), pd.read_parquet(items_file)
    if len(vectors) != len(items):
        raise ValueError(
            f"{folder}: {len(vectors)} vectors and {len(items)} items; evaluate the run again"
        )
    labels, queries = items["class"].to_numpy(), (items["split"] == "query").to_numpy()
    if queries.any():
        found = retrieval(
            vectors[queries], labels[queries], KS, vectors[~queries], labels[~queries]
        )
    else:
        found = retrieval(vectors, labels, KS)
    return Evaluated(
        name=str(run),
        ids=items["id"].astype(str).to_numpy(),
        figures=tuple(found.per_query),
        values=np.stack(list(found.per_query.values()), axis=1),
        classes=found.classes,
    )
