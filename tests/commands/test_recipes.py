"""`dml recipes`: the list, and one recipe with every option."""

import tomllib

import pytest

from dml.commands.recipes import recipes
from dml.recipe import SECTIONS, shipped_recipes


def reported(*arguments):
    lines = []
    recipes(*arguments, report=lines.append)
    return lines


def test_lists_every_recipe_with_its_title():
    lines = reported()
    assert len(lines) == len(shipped_recipes())
    for name, line in zip(shipped_recipes(), lines, strict=True):
        first, title = line.split(maxsplit=1)
        assert first == name and len(title) > 20 and not title.startswith("#")


def test_prints_one_with_every_option():
    text = "\n".join(reported("glyphs"))
    table = tomllib.loads(text)
    assert set(table) == set(SECTIONS)
    assert table["dataset"]["name"] == "glyphs"
    assert table["training"]["select"] == "best"  # a default, which the recipe does not name


def test_takes_a_recipe_of_the_users_own(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('[loss]\nname = "triplet"\nmargin = 0.5\n')
    text = "\n".join(reported(path))
    assert tomllib.loads(text)["loss"]["margin"] == 0.5


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(FileNotFoundError, match="Did you mean 'cub200_triplet'"):
        reported("cub_triplet")
