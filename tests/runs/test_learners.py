"""The recipe of each stage."""

import pytest

from dml.recipe import load_recipe
from dml.runs._learners import second_recipe, with_smaller_batches
from tests.runs.running import flags


def test_the_second_stage_has_options_of_its_own():
    options = {
        "second_stage__epochs": 3,
        "second_stage__learning_rate": 0.5,
        "second_stage__head_learning_rate": 0.25,
        "backbone__batch_norm": "frozen",
    }
    recipe = load_recipe("glyphs", flags(training__freeze_backbone_epochs=1, **options))
    second = second_recipe(recipe)
    assert (second.optimizer.learning_rate, second.optimizer.head_learning_rate) == (0.5, 0.25)
    assert (second.training.epochs, second.training.freeze_backbone_epochs) == (3, 0)
    assert second.backbone.batch_norm == "train"
    options["backbone__batch_norm"] = "fixed"
    assert second_recipe(load_recipe("glyphs", flags(**options))).backbone.batch_norm == "fixed"
    options |= {"backbone__batch_norm": "frozen", "second_stage__batch_norm": "frozen"}
    assert second_recipe(load_recipe("glyphs", flags(**options))).backbone == recipe.backbone


@pytest.mark.parametrize("sampler", ["shuffle", "weighted"])
def test_an_epoch_of_few_images_has_two_batches(sampler):
    recipe = load_recipe("glyphs", ["--sampler.name", sampler, "--sampler.batch_size", "64"])
    assert with_smaller_batches(recipe, 64) is recipe  # the whole set at once, as asked for
    assert with_smaller_batches(recipe, 41).sampler.batch_size == 20
    assert with_smaller_batches(recipe, 1).sampler.batch_size == 1


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--sampler.name=shuffle", "--sampler.batch_size=64", "--training.devices=2"),
        ("--sampler.name=shuffle", "--sampler.batch_size=64", "--training.chunks=2"),
    ],
)
def test_batches_of_whole_classes_or_in_parts_stay_as_they_are(words):
    recipe = load_recipe("glyphs", words)
    assert with_smaller_batches(recipe, 41) is recipe
