"""Recipes survive being written and read again."""

import dataclasses
import tomllib

import pytest

from dml.errors import OptionError
from dml.evaluation import _scores
from dml.recipe import (
    SECTIONS,
    EvaluationOptions,
    MemoryOptions,
    Recipe,
    TrainingOptions,
    _schema,
    load_recipe,
    option_names,
    shipped_recipes,
    toml_value,
)


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_survives_the_round_trip(name, tmp_path):
    recipe = load_recipe(name)
    again = load_recipe(write(tmp_path, recipe.to_toml()))
    assert again.to_toml() == recipe.to_toml()


def test_any_name_survives_being_written(tmp_path):
    root = 'a"b\\c\x1b[31m\n\x7f\x85\u00e9'
    recipe = load_recipe("folder", ["--dataset.root", root])
    again = load_recipe(write(tmp_path, recipe.to_toml()))
    assert again.dataset.root == root


def test_any_path_survives_the_round_trip(tmp_path):
    root = 'a\r\n\t"b\\c\x01\x7f é\u2028'
    recipe = load_recipe("glyphs", ["--dataset.root", root])
    assert load_recipe(write(tmp_path, recipe.to_toml())).dataset.root == root


def test_the_paths_of_a_run_are_absolute_where_there_is_such_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photos").mkdir()
    (tmp_path / "triplets.csv").touch()
    (tmp_path / "imagenet").touch()
    flags = ["--sampler.name", "fixed_triplets", "--sampler.path", "triplets.csv"]
    recipe = load_recipe("photos", [*flags, "--backbone.name", "conv4"]).with_absolute_paths()
    assert recipe.dataset.root == str(tmp_path / "photos")
    assert recipe.sampler.path == str(tmp_path / "triplets.csv")
    assert load_recipe("glyphs").with_absolute_paths().dataset.root == ""
    names = ["imagenet", "none", "weights/under/DML_DATA.h5"]
    for name in names:
        part = load_recipe("photos", ["--backbone.weights", name])
        assert part.with_absolute_paths().backbone.weights == name


@pytest.mark.parametrize(
    "kind, option, value",
    [
        (MemoryOptions, "size", -1),
        (MemoryOptions, "start", -1),
        (MemoryOptions, "weight", -0.5),
        (TrainingOptions, "epochs", 0),
        (TrainingOptions, "validate_every", 0),
        (TrainingOptions, "patience", -1),
        (TrainingOptions, "threads", 0),
        (TrainingOptions, "chunks", 0),
        (TrainingOptions, "freeze_backbone_epochs", -1),
        (TrainingOptions, "auxiliary_loss_weight", -0.1),
        (TrainingOptions, "views", 3),
        (TrainingOptions, "nested_dims", (8, 0)),
        (TrainingOptions, "select", "worst"),
        (TrainingOptions, "unreadable", "guess"),
        (TrainingOptions, "precision", "float16"),
        (TrainingOptions, "devices", 0),
        (TrainingOptions, "devices", "some"),
        (TrainingOptions, "shard_proxies", True),
        (EvaluationOptions, "batch_size", 0),
        (EvaluationOptions, "clustering_seeds", -1),
        (EvaluationOptions, "ks", (1, 0)),
        (EvaluationOptions, "extra_metrics", ("map", "recal")),
        (EvaluationOptions, "target_precision", 1.0),
        (EvaluationOptions, "target_far", 0.0),
    ],
)
def test_an_option_out_of_its_range_is_named(kind, option, value):
    with pytest.raises(OptionError, match=f"^{option} must be ") as error:
        kind(**{option: value})
    assert error.value.option == option


def test_zero_and_one_are_in_range_where_they_should_be():
    assert MemoryOptions(size=0, start=0, weight=0).start == 0
    assert TrainingOptions(epochs=1, validate_every=1, freeze_backbone_epochs=0).epochs == 1
    assert EvaluationOptions(clustering_seeds=0, batch_size=1).batch_size == 1


def test_the_extra_metrics_are_those_of_the_evaluation():
    assert _schema.EXTRA_METRICS == _scores.EXTRA_METRICS


def test_every_section_is_a_field_of_the_recipe():
    fields = [field.name for field in dataclasses.fields(Recipe)]
    assert fields == [*SECTIONS_IN_ORDER, "names", "parts"]
    assert set(SECTIONS_IN_ORDER) == set(SECTIONS)


SECTIONS_IN_ORDER = [
    *("dataset", "backbone", "embedding", "sampler", "augmentation", "loss", "miner"),
    *("reduction", "auxiliary_loss", "regularizer", "optimizer", "head"),
    "memory",
    *("head_stage", "second_stage", "training", "evaluation"),
]


@pytest.mark.parametrize(
    "value, text",
    [
        (True, "true"),
        (1e-4, "0.0001"),
        ((1, 2), "[1, 2]"),
        ('a"\x7f', '"a\\"\\u007f"'),
        (("a", "b"), '["a", "b"]'),
    ],
)
def test_values_as_toml(value, text):
    assert toml_value(value) == text
    assert tomllib.loads(f"x = {text}")["x"] == (list(value) if type(value) is tuple else value)


def test_the_places_of_an_option():
    names = option_names()
    assert names["epochs"][0] == "training.epochs" and names["loss"] == ["loss.name"]
    assert {"sampler.batch_size", "evaluation.batch_size"} <= set(names["batch_size"])
    assert "margin" not in option_names(["dataset"])


def test_the_documentation_of_an_option():
    texts = _schema.documentation_of(TrainingOptions)
    assert list(texts) == [field.name for field in dataclasses.fields(TrainingOptions)]
    assert texts["epochs"] == "Passes over the training split; positive."
    assert texts["freeze_backbone_epochs"].endswith("only embedding and head learn. At least 0.")
