"""Recipes are read strictly: what nobody knows is an error that says where and what instead."""

import os

import pytest

from dml.losses import ProxyAnchor, SoftTriple
from dml.recipe import load_recipe, shipped_recipes


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


def test_reads_parts_and_options(tmp_path):
    path = write(tmp_path, '[loss]\nname = "proxy_anchor"\nscale = 16\n[training]\nepochs = 3\n')
    recipe = load_recipe(path)
    assert isinstance(recipe.loss, ProxyAnchor) and recipe.loss.scale == 16.0
    assert recipe.training.epochs == 3


def test_flags_win_and_another_part_starts_from_its_defaults(tmp_path):
    path = write(tmp_path, '[loss]\nname = "proxy_anchor"\nscale = 16\n')
    flags = ["--loss.name", "soft_triple", "--loss.margin=0.02", "--evaluation.ks", "1,10"]
    recipe = load_recipe(path, flags)
    assert isinstance(recipe.loss, SoftTriple) and recipe.loss.margin == 0.02
    assert recipe.loss.scale == SoftTriple().scale
    assert recipe.evaluation.ks == (1, 10)


@pytest.mark.parametrize("name", sorted(shipped_recipes()))
def test_every_shipped_recipe_says_command_hardware_time_number_and_source(name):
    header = shipped_recipes()[name].read_text().split("\n[")[0]
    for word in ("command:", "hardware:", "time:", "expect:", "source:"):
        assert f"# {word}" in header, f"{name}: the header lacks '# {word}'"


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "[loss]\nname = 'proxy_anchr'\n",
            r"mine\.toml, line 2: loss\.name is unknown: .*Did you mean 'proxy_anchor'",
        ),
        (
            "[loss]\nmargn = 0.1\n",
            r"mine\.toml, line 2: loss\.margn is unknown\. Did you mean 'margin'",
        ),
        (
            "[loss]\n\nmargin = 'a'\n",
            r"mine\.toml, line 3: loss\.margin must be of type float; got 'a'",
        ),
        ("[loss]\nmargin = 7\n", r"loss.* margin must be in"),
        ("[training]\nepochs = 1.5\n", r"training\.epochs must be of type int; got 1\.5"),
        ("[optimizer]\nlearning_rate = nan\n", r"line 2: optimizer\.learning_rate must be finite"),
        (f"[loss]\nscale = {10**400}\n", r"line 2: loss\.scale must be of type float; got 1000"),
        ("[training]\nepochs = true\n", r"training\.epochs must be of type int; got True"),
        ("[training]\nselect = 'worst'\n", r"select must be one of best, last"),
        (
            "[los]\nname = 'triplet'\n",
            r"mine\.toml, line 1: los is not a section\. Did you mean 'loss'",
        ),
        ("loss = 3\n", r"loss must be a section"),
        ("[loss\n", r"not valid TOML"),
        ("parts = 'a.py'\n", r"parts must be a list"),
    ],
)
def test_names_file_line_and_option(tmp_path, text, message):
    with pytest.raises(ValueError, match=message):
        load_recipe(write(tmp_path, text))


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--loss.margin", "big"], r"command line: loss\.margin must be of type float; got 'big'"),
        (["--loss.margin", "inf"], r"command line: loss\.margin must be finite; got inf"),
        (["--loss.margin"], "needs a value"),
        (["--lossy.margin", "1"], "Did you mean 'loss'"),
        (["--training.epochs", "many"], "must be of type int; got 'many'"),
        (["margin", "1"], "expected --section.option value"),
    ],
)
def test_names_the_flag(flags, message):
    with pytest.raises(ValueError, match=message):
        load_recipe("glyphs", flags)


def test_suggests_the_nearest_recipe():
    with pytest.raises(FileNotFoundError, match="Did you mean 'glyphs'"):
        load_recipe("glyph")


def test_no_name_is_not_the_current_folder():
    with pytest.raises(ValueError, match="The name is empty"):
        load_recipe("")


def test_a_folder_of_class_folders_is_a_recipe(tmp_path):
    (tmp_path / "cat").mkdir()
    recipe = load_recipe(tmp_path)
    assert recipe.names["dataset"] == "folder"
    assert os.fspath(recipe.dataset.root) == str(tmp_path)


def test_flags_hold_wherever_the_part_is_named():
    flags = ["--sampler.images_per_class", "3", "--sampler.name", "hard_class"]
    for order in (flags, flags[2:] + flags[:2]):
        assert load_recipe("glyphs", order).sampler.images_per_class == 3


def test_a_byte_order_mark_is_read_over(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf[training]\nepochs = 3\n")
    assert load_recipe(tmp_path / "mine.toml").training.epochs == 3


@pytest.mark.parametrize(
    "data",
    [
        b"[loss]\nmargin = " + b"[" * 100_000,
        b"a = " + b"{b = " * 50_000,
        b"[training]\nepochs = " + b"9" * 5000,
        b"[loss]\nname = '\xe9'\n",
        b"[loss]\nname = 'a\x00'\n",
    ],
)
def test_toml_that_no_parser_takes_is_one_error(tmp_path, data):
    (tmp_path / "mine.toml").write_bytes(data)
    with pytest.raises(ValueError, match=r"mine\.toml: not (valid TOML|a text file in UTF-8)"):
        load_recipe(tmp_path / "mine.toml")


@pytest.mark.parametrize("text", ["a" + 100_000 * ".a" + " = 1", "#" * 2**21])
def test_a_recipe_that_takes_gigabytes_to_read_is_refused(tmp_path, text):
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(ValueError, match=r"mine.toml: not valid TOML: a recipe has at most"):
        load_recipe(str(tmp_path / "mine.toml"))
