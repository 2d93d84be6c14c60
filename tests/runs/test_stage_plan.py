"""Which stages a training has."""

import pytest

from dml.recipe import load_recipe
from dml.runs._stage_plan import StagePlan

SECOND = "--second_stage.epochs=5"
PRETRAINED = ("--backbone.name=resnet50", "--backbone.weights=imagenet")


def plan(*words):
    """Returns the names of the stages and choices that a recipe's training has."""
    found = vars(StagePlan.of(load_recipe("glyphs", words)))
    return {name for name, has in found.items() if has is True}


@pytest.mark.parametrize(
    "words, expected",
    [
        (("full",), {"whole"}),
        (("full", "--training.interpolate=validation"), {"whole", "chooses"}),
        (("full", "--embedding.init=pca"), {"whole", "components"}),
        (("full", "--embedding.init=pca", "--embedding.dim=0"), {"whole"}),
        (("full", *PRETRAINED), {"whole", "components"}),
        (("full", *PRETRAINED, "--embedding.init=random"), {"whole"}),
        (("head",), {"head"}),
        (("head", "--training.interpolate=validation"), {"head"}),
        (("adapt", SECOND), {"whole", "chooses", "adapts"}),  # there is nothing to adapt
        (("adapt", *PRETRAINED), {"head", "whole", "chooses", "adapts", "components"}),
        (
            ("adapt", SECOND, *PRETRAINED),
            {"head", "whole", "second", "chooses", "adapts", "components"},
        ),
        (
            ("adapt", SECOND, *PRETRAINED, "--embedding.dim=0"),
            {"whole", "second", "chooses", "adapts"},
        ),
    ],
)
def test_the_recipe_decides(words, expected):
    stage, *rest = words
    assert plan(f"--training.stage={stage}", "--training.interpolate=none", *rest) == expected


def test_only_pretrained_weights_are_fine_tuned():
    assert StagePlan.of(load_recipe("glyphs")).whole_name == "training"
    assert StagePlan.of(load_recipe("glyphs", PRETRAINED)).whole_name == "fine-tuning"
