"""What the arguments of an evaluation ask for."""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from dml._storage.run_folder import RunFolder
from dml.datasets.base import DatasetPart
from dml.errors import OptionError
from dml.recipe import EvaluationOptions, load_recipe, load_run_recipe, read_flags
from dml.runs._splits import TestData, without_splits


def evaluated_data(
    folder: RunFolder,
    allow_parts: bool = False,
    dataset: str | os.PathLike[str] | DatasetPart | None = None,
    flags: Sequence[str] = (),
) -> tuple[TestData, EvaluationOptions]:
    """Returns the data set that a run is to be evaluated on, and the options.

    Args:
        folder: The run.
        allow_parts: As for `dml.Run`.
        dataset: As for `dml.Run.evaluate`.
        flags: As for `dml.Run.evaluate`.

    Raises:
        OptionError: A flag is no option of this evaluation.
    """
    flagged = set()
    for section, option, _ in read_flags(flags):
        if section not in ("dataset", "evaluation"):
            raise OptionError(
                f"--{section}.{option}",
                "is not an option of an evaluation: use --dataset and --evaluation options",
            )
        if dataset is None and section == "dataset" and option != "root":
            raise OptionError(
                f"--dataset.{option}",
                "can't change: a run is evaluated on the test split of its training, and only "
                "--dataset.root may differ; use --on to evaluate it on other data",
            )
        flagged.add((section, option))
    if dataset is None:
        recipe = load_run_recipe(folder, flags, allow_parts)
        return TestData(recipe.dataset, is_own=True), recipe.evaluation
    if isinstance(dataset, DatasetPart):
        if given := [option for section, option in flagged if section == "dataset"]:
            text = "can't be set for a part, which has its own options: set it there"
            raise OptionError(f"--dataset.{given[0]}", text)
        options = load_run_recipe(folder, flags, allow_parts).evaluation
        return TestData(dataset, is_own=False), options
    load_run_recipe(folder, (), allow_parts)  # before any data is read
    other = load_recipe(dataset, flags, allow_parts)
    whole, options = without_splits(other.dataset), other.evaluation
    if Path(dataset).suffix == ".toml":
        whole.pop("test_fraction", None)
    else:
        own = [f"--evaluation.{o}={v}" for s, o, v in read_flags(flags) if s == "evaluation"]
        options = load_run_recipe(folder, own, allow_parts).evaluation
    unset = {name: v for name, v in whole.items() if ("dataset", name) not in flagged}
    return TestData(replace(other.dataset, **unset), is_own=False), options
