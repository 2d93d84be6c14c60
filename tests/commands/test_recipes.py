"""`dml recipes`: the list, and one recipe with every option."""

import tomllib

import pytest

from dml.cli import main
from dml.recipe import SECTIONS, shipped_recipes


@pytest.fixture
def reported(capsys):
    def lines(*arguments):
        assert main(["recipes", *arguments]) == 0
        return capsys.readouterr().out.splitlines()

    return lines


def test_lists_every_recipe_with_its_title(reported):
    lines = reported()
    assert len(lines) == len(shipped_recipes())
    for name, line in zip(shipped_recipes(), lines, strict=True):
        first, title = line.split(maxsplit=1)
        assert first == name and len(title) > 20 and not title.startswith("#")


def test_prints_one_with_every_option(reported):
    text = "\n".join(reported("glyphs"))
    table = tomllib.loads(text)
    assert set(table) == set(SECTIONS)
    assert table["dataset"]["name"] == "glyphs"
    assert table["training"]["select"] == "best"  # a default, which the recipe does not name


def test_takes_a_recipe_of_the_users_own(tmp_path, reported):
    path = tmp_path / "mine.toml"
    path.write_text('[loss]\nname = "triplet"\nmargin = 0.5\n')
    text = "\n".join(reported(str(path)))
    assert tomllib.loads(text)["loss"]["margin"] == 0.5


def test_an_unknown_name_is_an_error_with_the_nearest(capsys):
    assert main(["recipes", "cub_triplet"]) == 2
    assert "Did you mean 'cub200_triplet'" in capsys.readouterr().err
