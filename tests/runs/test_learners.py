"""The recipe of each stage."""

from dml.recipe import load_recipe
from dml.runs._learners import second_recipe
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
