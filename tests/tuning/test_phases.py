"""The phases of a study: the head stage first, where there is one to train."""

from pathlib import Path

import pytest

from dml.recipe import load_recipe
from dml.tuning import Interval, SearchSpace, Trial, spaces_of
from dml.tuning._phases import phases_of
from dml.tuning._space import varied

PRETRAINED = ["--backbone.name", "mobilenet", "--backbone.weights", "imagenet"]


def recipe(*flags):
    return load_recipe("glyphs", flags)


def trial(number, score, own=False, **options):
    options = {name.replace("__", "."): value for name, value in options.items()}
    return Trial(number, "head", own, "complete", options, score, 1.0, "", Path())


def test_the_head_stage_searches_its_own_rates_and_no_augmentation():
    own = recipe(*PRETRAINED)
    space, head = spaces_of(own)
    assert set(space.options) == {
        *("optimizer.learning_rate", "optimizer.head_learning_rate"),
        *("optimizer.weight_decay", "optimizer.layer_decay"),
    }
    assert set(head.options) == {
        *("head_stage.learning_rate", "head_stage.head_learning_rate", "optimizer.weight_decay")
    }
    assert set(space.parts) == {"loss", "augmentation"} and set(head.parts) == {"loss"}
    assert head.parts["loss"] == space.parts["loss"]
    adapted, _ = spaces_of(recipe(*PRETRAINED, "--training.stage", "adapt"))
    assert set(adapted.options) == set(space.options) | set(head.options)


@pytest.mark.parametrize(
    "flags",
    [
        [],
        [*PRETRAINED, "--training.stage", "head"],
        [*PRETRAINED, "--embedding.dim", "0"],
        [*PRETRAINED, "--loss.name", "nt_xent", "--training.views", "2"],
    ],
)
def test_a_recipe_without_a_head_stage_of_its_own_has_one_phase(flags):
    own = recipe(*flags)
    spaces = spaces_of(own)
    assert spaces[1] is None
    (phase,) = phases_of(own, *spaces)
    assert phase.stage == own.training.stage and phase.share == 1


def test_what_only_fine_tuning_searches_has_no_head_stage():
    assert spaces_of(recipe(*PRETRAINED), ["augmentation"])[1] is None


def test_fine_tuning_begins_with_the_recipe_and_the_best_of_the_head_stage():
    own = recipe(*PRETRAINED)
    head, tuning = phases_of(own, *spaces_of(own))
    assert (head.stage, tuning.stage) == ("head", "full") and head.share == 0.5
    (first,) = head.first([])
    assert varied(own, head.drawn(lambda name, domain: first[name])).training.stage == "head"
    worse = trial(1, 0.5, loss__name="triplet")
    better = trial(2, 0.9, training__stage="head", loss__name="soft_triple", loss__scale=30.0)
    found = [
        varied(own, tuning.drawn(lambda name, domain, params=params: params[name]))
        for params in tuning.first([worse, better])
    ]
    assert found[0].to_toml() == own.to_toml()
    assert found[1].loss.scale == 30 and found[1].training.stage == "full"
    assert found[1].optimizer == own.optimizer
    assert len(tuning.first([worse, trial(2, 0.9, own=True)])) == 1
    assert len(tuning.first([])) == 1


def test_a_best_trial_that_the_next_phase_does_not_search_is_left_out():
    own = recipe(*PRETRAINED)
    losses = {"loss": {"proxy_anchor": {}, "triplet": {"margin": Interval(0, 1)}}}
    _, tuning = phases_of(own, SearchSpace(parts=losses), spaces_of(own)[1])
    assert len(tuning.first([trial(1, 0.9, loss__name="soft_triple")])) == 1
    assert len(tuning.first([trial(1, 0.9, loss__name="triplet")])) == 2
