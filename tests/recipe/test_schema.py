"""What a recipe is written as, and read from again."""

import pytest

from dml.recipe import load_recipe, shipped_recipes


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
