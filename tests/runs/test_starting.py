"""Checks and descriptions before a training starts."""

import pytest

from dml.errors import OptionError
from dml.recipe import load_recipe
from dml.runs._parameters import Parameters
from dml.runs._starting import describe_training, free_folder, run_name


def test_says_what_is_trained_from_which_weights_and_how_long():
    assert describe_training(load_recipe("glyphs"), Parameters(9, 9), 25, True) == (
        "training conv4 from random weights, 48 x 48 pixels to embeddings of 64; "
        "trains all 9 parameters; loss proxy_anchor; 12 epochs of 25 batches of 64 images"
    )
    flags = "--backbone.name own --backbone.path my.keras --loss.name contrastive"
    flags += " --miner.name batch_hard --auxiliary_loss.name center --embedding.dim 0"
    assert describe_training(
        load_recipe("glyphs", flags.split()), Parameters(2, 9), 1000, True
    ) == (
        "training my.keras from its own weights, 224 x 224 pixels to pooled features; "
        "trains 2 of 9 parameters; loss contrastive, miner batch_hard, auxiliary loss center; "
        "12 epochs of 1,000 batches of 64 images"
    )
    imagenet = load_recipe(
        "glyphs", ["--backbone.name", "resnet50", "--backbone.weights", "imagenet"]
    )
    assert "training resnet50 from ImageNet weights, " in describe_training(
        imagenet, Parameters(9, 9), 1, True
    )


@pytest.mark.parametrize(
    "validated, stages",
    [
        (
            True,
            "20 epochs of the head alone, then 10 epochs and, if they help, 10 more at higher "
            "rates, of 50 batches of 32 images",
        ),
        (False, "20 epochs of the head alone, then 10 epochs of 50 batches of 32 images"),
    ],
)
def test_a_second_stage_takes_validation(validated, stages):
    line = describe_training(load_recipe("adapt"), Parameters(9, 9), 50, validated)
    assert line.rpartition("; ")[2] == stages


def test_a_new_folder_is_nobody_elses(tmp_path):
    made = [free_folder(tmp_path / "runs", "mine") for _ in range(3)]
    assert [path.name for path in made] == ["mine", "mine-2", "mine-3"]
    assert all(path.is_dir() for path in made)


@pytest.mark.parametrize("name", ["../a/b", "a/b", "/a", "..", ".", ""])
def test_a_run_is_in_its_folder(tmp_path, name):
    with pytest.raises(OptionError, match=r"name must be a name within .*, without folders; got"):
        free_folder(tmp_path / "runs", name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "source, name",
    [
        ("glyphs", "glyphs"),
        ("a/recipe.v2.toml", "recipe.v2"),
        ("/", "folder"),
        ("b/..", "x.y"),
        ("s/t-{0..9}.tar", "t-0..9"),
    ],
)
def test_a_run_is_named_after_what_it_is_trained_on(tmp_path, monkeypatch, source, name):
    (tmp_path / "x.y").mkdir()
    monkeypatch.chdir(tmp_path / "x.y")
    assert run_name(source) == name
