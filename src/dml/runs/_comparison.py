"""Differences between runs on the same test images, and summaries over seeds."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from dml._storage.run_folder import RunFolder
from dml.datasets import RecordedItems
from dml.errors import DataError
from dml.evaluation.intervals import class_interval
from dml.recipe import Recipe
from dml.recipe._runs import training_options
from dml.runs._evaluating import read_evaluated
from dml.runs._measuring import search
from dml.runs._parameters import Parameters, parameters_of
from dml.runs.run import Run

_KS = (1, 2, 4, 8)


@dataclass(frozen=True, eq=False)
class ScoredRun:
    """The metrics of each query of one run.

    Args:
        name: The run's folder.
        dataset: The data set's name.
        recipe: The run's recipe.
        images: Strings (N,): the id of each image and, for the run's own data set, its SHA-256.
        metrics: Names of the metrics (M,).
        values: Float64 (scored queries, M), each in [0, 1].
        frozen: Metric -> the frozen network's, in [0, 1]; empty where it was not measured.
        classes: Integers (scored queries,); with several labels, `Retrieval.groups`.
        exclude: What a query's search left out, as `evaluation.exclude`.
        parameters: How many were trained; None if the run has no record of it.
    """

    name: str
    dataset: str
    recipe: Recipe
    images: np.ndarray
    metrics: tuple[str, ...]
    values: np.ndarray
    classes: np.ndarray
    frozen: Mapping[str, float]
    exclude: str = "none"
    parameters: Parameters | None = None

    @property
    def means(self) -> dict[str, float]:
        """Metric -> its mean over the queries."""
        return dict(zip(self.metrics, self.values.mean(axis=0).tolist(), strict=True))


@dataclass(frozen=True)
class Difference:
    """The difference of one metric between two runs.

    Args:
        value: The metric of the other run, in [0, 1].
        difference: `value` minus that of the first run.
        low: Lower end of the difference's 95 % interval.
        high: Upper end.
    """

    value: float
    difference: float
    low: float
    high: float

    @property
    def is_real(self) -> bool:
        """Whether 0 is outside the interval."""
        return self.low > 0 or self.high < 0


@dataclass(frozen=True)
class SeedSummary:
    """A metric of runs that differ in their seed.

    Args:
        mean: Over the runs, in [0, 1].
        deviation: Standard deviation over the runs; None for a single run.
        low: Lower end of the 95 % interval of the mean, for other test classes.
        high: Upper end.
    """

    mean: float
    deviation: float | None
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class SettingSummary:
    """The metrics of runs of one setting.

    Args:
        runs: Runs that differ in their seed only.
        metrics: Name -> summary.
    """

    runs: tuple[ScoredRun, ...]
    metrics: dict[str, SeedSummary]


def read_scored_runs(
    paths: Sequence[str | os.PathLike[str]],
    on: str | None = None,
    flags: Sequence[str] = (),
    allow_parts: bool = False,
) -> list[ScoredRun]:
    """Returns the scores of runs that were evaluated on the same images.

    Args:
        paths: The runs' folders.
        on: The data set that they were evaluated on; by default their own.
        flags: `--dataset.option value` of that evaluation.
        allow_parts: Whether the Python files that the runs' recipes list under `parts` may be
            imported.

    Raises:
        MissingDataError: A run was not evaluated on that data set.
        DataError: A file is damaged, the images or what a search leaves out differ, or no query
            has an image to find.
    """
    first, *others = runs = [_read(path, on, flags, allow_parts) for path in paths]
    for other in others:
        if other.exclude != first.exclude:
            raise DataError(
                other.name,
                f"evaluated with evaluation.exclude = {other.exclude}, and {first.name} with "
                f"{first.exclude}: evaluate both alike, `dml evaluate RUN --evaluation.exclude "
                f"{first.exclude}`",
            )
        if not np.array_equal(other.images, first.images):
            raise DataError(
                other.name,
                f"evaluated on different images than {first.name}: evaluate both on the same data "
                "set, `dml evaluate RUN --on DATASET`",
            )
    return runs


def _read(path, on, flags, allow_parts):
    run = Run(path, allow_parts)
    evaluation = run.evaluation(on, flags)
    folder = RunFolder(run.path)
    split, vectors = read_evaluated(folder, evaluation)
    images = split.items.ids.astype(str)
    if on is None:  # folders with the same layout have the same ids
        recorded = RecordedItems.read(folder.checked(folder.items))
        digests = dict(zip(recorded.items.ids, recorded.digests, strict=True))
        images = np.array([f"{name} {digests.get(name)}" for name in split.items.ids])
    try:
        result = search(split, vectors, _KS)
    except ValueError as error:
        raise DataError(path, str(error)) from None
    return ScoredRun(
        name=os.fspath(path),
        dataset=evaluation.dataset,
        recipe=run.recipe,
        images=images,
        metrics=tuple(result.per_query),
        values=np.stack(list(result.per_query.values()), axis=1),
        classes=result.groups,
        frozen={name: metric.value for name, metric in evaluation.frozen.items()},
        exclude=evaluation.exclude,
        parameters=parameters_of(folder),
    )


def differences(first: ScoredRun, other: ScoredRun) -> dict[str, Difference]:
    """Returns the difference of each metric between two runs on the same images.

    The interval is that of the mean of paired differences over the queries, for other test classes
    (`class_interval`). It does not cover the variation between seeds: compare several.
    """
    gaps = other.values - first.values
    ends = class_interval(gaps, first.classes, lowest=-1.0)
    columns = (other.values.mean(axis=0), gaps.mean(axis=0), *ends)
    numbers = zip(*(column.tolist() for column in columns), strict=True)
    return {metric: Difference(*row) for metric, row in zip(other.metrics, numbers, strict=True)}


def summarize_settings(runs: Sequence[ScoredRun]) -> list[SettingSummary]:
    """Returns a summary of each setting, in order; the seed is not part of a setting.

    Args:
        runs: Evaluated on the same images.

    Raises:
        DataError: A run is a copy of another, with the same recipe and values: it would count as
            a second seed.
    """
    groups: dict[str, list[ScoredRun]] = {}
    for run in runs:
        group = groups.setdefault(_setting(run.recipe), [])
        for other in group:
            same_seed = run.recipe.training.seed == other.recipe.training.seed
            if same_seed and np.array_equal(run.values, other.values):
                raise DataError(
                    run.name, f"a copy of {other.name}, not another seed: leave one of them out"
                )
        group.append(run)
    return [SettingSummary(tuple(group), _summarize(group)) for group in groups.values()]


def _setting(recipe):
    """Returns what affects the training of a recipe, except for the seed."""
    options = training_options(recipe.to_toml(), "the recipe")
    return str({**options, "training.seed": None})


def _summarize(runs):
    values = np.stack([run.values for run in runs])  # (seeds, queries, metrics)
    by_seed = values.mean(axis=1)
    low, high = class_interval(values.mean(axis=0), runs[0].classes)
    deviation = by_seed.std(axis=0, ddof=1) if len(runs) > 1 else None
    return {
        metric: SeedSummary(
            float(by_seed[:, column].mean()),
            None if deviation is None else float(deviation[column]),
            float(low[column]),
            float(high[column]),
        )
        for column, metric in enumerate(runs[0].metrics)
    }
