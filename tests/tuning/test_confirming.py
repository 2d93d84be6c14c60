"""The best options and the recipe's own, trained again on another split with other seeds."""

import pytest

from dml._storage.study_folder import StudyFolder
from dml.datasets import RecordedItems
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs import Trainer
from dml.runs._validation import validation_score
from dml.tuning import Trial
from dml.tuning._confirming import confirm
from dml.tuning._limits import Limits
from tests.reporters import Lines
from tests.runs.running import flags

pytestmark = pytest.mark.usefixtures("eager_training")

RATE = "optimizer.learning_rate"


def study(tmp_path, **changes):
    """Returns a recipe, its folder, its images and a best trial."""
    recipe = load_recipe("glyphs", flags(training__epochs=1, **changes))
    recorded = Trainer(recipe)._record(recipe.dataset.items().select("train", "val"))
    best = Trial(7, "full", False, "complete", {RATE: 0.02}, 0.9, 1.0, "", tmp_path)
    return recipe, best, StudyFolder(tmp_path), recorded


def names(folder, split):
    return sorted(RecordedItems.read(folder.items).items.select(split).label_names)


def test_other_images_of_the_same_classes_are_no_other_classes(tmp_path, monkeypatch):
    def score(recipe, run, *_):
        return 0.5

    monkeypatch.setattr("dml.tuning._confirming._score", score)
    found = confirm(*study(tmp_path, dataset__validation="images"), 1, Limits(1, None), SILENT)
    assert found.other_images and not found.other_classes
    found = confirm(*study(tmp_path), 1, Limits(1, None), SILENT)
    assert found.other_images and found.other_classes


@pytest.mark.slow
def test_each_pair_has_a_seed_and_validation_classes_of_its_own(tmp_path, monkeypatch):
    recipe, best, folder, recorded = study(tmp_path)
    lines = Lines()
    found = confirm(recipe, best, folder, recorded, 2, Limits(1, None), lines)
    assert found.other_classes and len(lines) == 4
    splits = [sorted(recorded.items.select("val").label_names)]
    for number in (1, 2):
        own, again = (folder.confirming(name, number) for name in ("own", "trial-0007"))
        splits.append(names(own, "val"))
        assert names(again, "val") == splits[-1] and not set(names(own, "train")) & set(splits[-1])
        assert {*names(own, "train"), *splits[-1]} == set(recorded.items.label_names)
        for run, rate, scores in ((own, recipe.optimizer.learning_rate, found.own),
                                  (again, 0.02, found.best)):  # fmt: skip
            trained = load_recipe(run.recipe)
            assert trained.training.seed == recipe.training.seed + number
            assert trained.optimizer.learning_rate == rate
            assert validation_score(run, trained.training) == scores[number - 1]
        assert not own.checkpoints.exists()
    assert splits[0] != splits[1] != splits[2]
    assert not list(folder.confirmation.glob("features-*"))

    def fit(*_):
        raise AssertionError("trained again")

    monkeypatch.setattr("dml.tuning._confirming.fit", fit)
    assert confirm(recipe, best, folder, recorded, 2, Limits(1, None), SILENT) == found


def test_a_pair_without_time_is_left_to_a_later_call(tmp_path):
    times = [0.0]
    limits = Limits(1, 1.0, lambda: times[0])
    times[0] = 2.0
    assert confirm(*study(tmp_path), 1, limits, SILENT) is None
    assert not list(tmp_path.glob("confirmation/*/encoder.keras"))
