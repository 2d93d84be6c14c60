"""Trains the best recipe of a study and its own again, with other seeds and validation splits."""

import shutil
from pathlib import Path

import numpy as np

from dml._storage.locks import locked
from dml._storage.run_folder import RunFolder
from dml._storage.study_folder import StudyFolder
from dml.datasets import Items, RecordedItems
from dml.datasets._recorded import SEEN
from dml.errors import BusyError
from dml.recipe import Recipe, with_options
from dml.reporting import Reporter
from dml.runs._validation import validation_score
from dml.tuning._limits import Limits
from dml.tuning._space import varied
from dml.tuning._training import Stopped, TrialReporter, fit, wait
from dml.tuning._trials import Trial
from dml.tuning.study import Confirmation


def confirm(
    recipe: Recipe,
    best: Trial,
    folder: StudyFolder,
    recorded: RecordedItems,
    count: int,
    limits: Limits,
    reporter: Reporter,
) -> Confirmation | None:
    """Returns how well the best options and the recipe's own do again; None if the time is over.

    Each repetition has other seeds, so that other classes or images are held out, unless the data
    set lists a split `val`. What was trained by an earlier call is not trained again.

    Args:
        recipe: The study's.
        best: Its best trial.
        folder: The study's.
        recorded: Its training and validation images.
        count: Repetitions.
        limits: The limits of the study.
        reporter: Shows the progress, and receives a line for each run.

    Raises:
        DmlError: A run can't be trained.
    """
    options = {"own": {}, f"trial-{best.number:04d}": best.options}
    scores: dict[str, list[float]] = {name: [] for name in options}
    held_out, other_classes, other_images = recorded.items.select("val"), False, False
    try:
        for number, seeded in enumerate(repetitions(recipe, count), start=1):
            items = _split_again(seeded, recorded)
            again = items.items.select("val")
            other_classes |= _classes(again) != _classes(held_out)
            other_images |= set(again.ids) != set(held_out.ids)
            features = folder.confirmation / f"features-{number:04d}"
            for name, changed in options.items():
                one, run = varied(seeded, changed), folder.confirming(name, number)
                score = _score(one, run, items, features, limits, reporter)
                reporter.info(f"{run.path}: validation R@1 {100 * score:.1f}")
                scores[name].append(score)
            shutil.rmtree(features, ignore_errors=True)
    except Stopped:
        return None
    own, best_again = map(tuple, scores.values())
    return Confirmation(best_again, own, other_classes, other_images)


def repetitions(recipe: Recipe, count: int) -> list[Recipe]:
    """Returns a recipe with other seeds: i is added to those of the training and the validation.

    Args:
        recipe: The recipe.
        count: The last i, from 1.

    Raises:
        OptionError: There is no such seed.
    """
    training, validation = recipe.training.seed, recipe.dataset.validation_seed
    return [
        with_options(
            recipe, {"training.seed": training + i, "dataset.validation_seed": validation + i}
        )
        for i in range(1, count + 1)
    ]


def _split_again(recipe: Recipe, recorded: RecordedItems) -> RecordedItems:
    """Returns a study's images, divided into training and validation as a recipe says."""
    digests = dict(zip(recorded.items.ids, recorded.digests, strict=True))
    items = recipe.dataset.items().select(*SEEN)
    items = items.take(np.isin(items.ids, recorded.items.ids))
    return RecordedItems(items, np.array([digests[name] for name in items.ids], object))


def _classes(items: Items) -> set[str]:
    """Returns the names of the classes, which a record keeps as text."""
    return set(map(str, items.label_names))


def _score(
    recipe: Recipe,
    run: RunFolder,
    recorded: RecordedItems,
    features: Path,
    limits: Limits,
    reporter: Reporter,
) -> float:
    """Trains a run, unless it is finished, and returns its R@1 in validation."""

    def watch():
        if limits.over():
            raise Stopped("interrupted")

    while not run.encoder.exists():
        watch()
        try:
            with locked(run.path.parent / f".{run.path.name}.lock", str(run.path)):
                watched = TrialReporter(reporter, watch)
                fit(recipe, run, recorded, features, limits, watched)
                run.remove_checkpoints()
        except BusyError:  # another process trains it
            wait(limits)
    score = validation_score(run, recipe.training)
    assert score is not None  # there are validation classes
    return score
