"""A recipe starts from those that it extends, and has options of its own for a data set."""

import pytest

from dml.errors import DmlError
from dml.losses import Triplet
from dml.recipe import load_recipe, read_source, shipped_recipes


def write(tmp_path, text):
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return path


ANCHOR = "[loss]\nname = 'proxy_anchor'\nscale = 16\nmargin = 0.2\n[training]\nepochs = 3\n"


def test_a_recipe_builds_on_another_option_by_option(tmp_path):
    (tmp_path / "base.toml").write_text(ANCHOR)
    recipe = load_recipe(write(tmp_path, "extends = 'base.toml'\n[loss]\nscale = 8\n"))
    assert (recipe.loss.scale, recipe.loss.margin, recipe.training.epochs) == (8, 0.2, 3)


def test_another_part_drops_the_options_of_the_inherited_one(tmp_path):
    (tmp_path / "base.toml").write_text(ANCHOR)
    recipe = load_recipe(
        write(tmp_path, "extends = 'base.toml'\n[loss]\nname = 'triplet'\n[training]\nseed = 1\n")
    )
    assert recipe.names["loss"] == "triplet" and recipe.loss.margin == Triplet().margin
    assert (recipe.training.epochs, recipe.training.seed) == (3, 1)


def test_the_same_part_named_again_keeps_them(tmp_path):
    (tmp_path / "base.toml").write_text("[loss]\nscale = 16\n")  # the default, proxy_anchor
    path = write(tmp_path, "extends = 'base.toml'\n[loss]\nname = 'proxy_anchor'\n")
    assert load_recipe(path).loss.scale == 16
    assert load_recipe(path, ["--loss.name", "proxy_anchor"]).loss.scale == 16


def test_bases_are_found_from_the_recipe_that_names_them_on_several_levels(tmp_path, monkeypatch):
    (tmp_path / "bases").mkdir()
    (tmp_path / "bases" / "one.toml").write_text("extends = 'two.toml'\n[training]\nseed = 1\n")
    (tmp_path / "bases" / "two.toml").write_text(
        "extends = 'proxy_anchor'\n[training]\nseed = 2\nepochs = 2\n"
    )
    path = write(tmp_path, "extends = 'bases/one.toml'\n[training]\nthreads = 1\n")
    monkeypatch.chdir(tmp_path / "bases")
    recipe = load_recipe(path, ["--training.validate_every", "5"])
    training = recipe.training
    assert (training.threads, training.seed, training.epochs) == (1, 1, 2)
    assert training.validate_every == 5 and recipe.names["backbone"] == "resnet50"
    resolved = write(tmp_path, recipe.to_toml())  # needs no base
    assert "extends" not in recipe.to_toml()
    assert load_recipe(resolved).to_toml() == recipe.to_toml()


@pytest.mark.parametrize(
    "text, message",
    [
        (
            "# mine\nextends = 'proxy_anchr'\n",
            r"line 2: extends must .*Did you mean 'proxy_anchor'",
        ),
        ("extends = 'glyph'\n", r"line 1: extends must .*Did you mean 'glyphs'"),
        ("extends = 'cub200'\n", r"line 1: extends must be a shipped recipe's name or a file"),
        ("extends = 'gone.toml'\n", r"line 1: extends names .*gone\.toml: no recipe"),
        ("extends = 7\n", r"line 1: extends must be .*, or a list of these; got 7"),
        ("extends = ['glyphs', 7]\n", r"line 1: extends must .*got \['glyphs', 7\]"),
        ("extends = ['glyphs', 'b']\n", r"line 1: extends must .*got 'b'"),
        ("extends = ['glyphs', 'mine.toml']\n", r"line 1: extends forms a cycle: .*mine\.toml"),
        ("on = 1\n", r"line 1: on must be tables of options for one data set, \[on\.DATA\]; got 1"),
        ("\n[on]\nsop = 1\n", r"line 3: on\.sop must be a table of options, \[on\.sop\]; got 1"),
        ("[on.cub]\n", r"line 1: on\.cub is not a data set\. Did you mean 'cub200'\? Known: cars"),
        ("[on.glyphs]\nloss = 1\n", r"line 2: loss must be a section, \[on\.glyphs\.loss\]; got 1"),
        ("[on.glyphs.los]\nscale = 1\n", r"line 1: los is not a section\. Did you mean 'loss'"),
        ("[on.glyphs]\nloss.margn = 1\n", r"mine\.toml, line 2: loss\.margn is unknown"),
        ("[on.glyphs.loss]\n\nmargn = 1\n", r"mine\.toml, line 3: loss\.margn is unknown"),
        (
            "[on.glyphs]\nauxiliary-loss.name = 'center'\nauxiliary_loss.name = 'center'\n",
            r"mine\.toml, \[on\.glyphs\]: has the section auxiliary-loss twice",
        ),
        ("extends = 'mine.toml'\n", r"mine\.toml, line 1: extends forms a cycle: .*mine\.toml"),
        ("extends = 'there.toml'\n", r"there\.toml, line 3: extends forms a cycle: .*mine\.toml"),
        ("extends = 'bad.toml'\n[loss]\n", r"bad\.toml, line 2: loss\.margn is unknown"),
        ("extends = 'bad.toml'\n[loss]\nmargn = 1\n", r"mine\.toml, line 3: loss\.margn is unk"),
        ("extends = 'odd.toml'\n", r"odd\.toml: not valid TOML"),
        ("extends = 'old.toml'\n", r"old\.toml, line 1: los is not a section"),
        ("[loss]\nextends = 'glyphs'\n", r"line 2: loss\.extends is unknown"),
    ],
)
def test_what_can_not_be_built_on_is_one_line_with_its_place(tmp_path, text, message):
    (tmp_path / "there.toml").write_text("# there\n\nextends = 'mine.toml'\n")
    (tmp_path / "bad.toml").write_text("[loss]\nmargn = 1\n")
    (tmp_path / "odd.toml").write_text("[loss\n")
    (tmp_path / "old.toml").write_text("[los]\nmargin = 1\n")
    with pytest.raises(DmlError, match=message) as error:
        load_recipe(write(tmp_path, text))
    assert "\n" not in str(error.value)


def test_the_later_of_several_bases_wins_option_by_option(tmp_path):
    (tmp_path / "one.toml").write_text("[training]\nepochs = 1\nseed = 1\nthreads = 1\n")
    (tmp_path / "two.toml").write_text("[training]\nepochs = 2\nseed = 2\n")
    path = write(tmp_path, "extends = ['one.toml', 'two.toml']\n[training]\nepochs = 3\n")
    training = load_recipe(path).training
    assert (training.epochs, training.seed, training.threads) == (3, 2, 1)


def test_a_base_of_two_bases_comes_before_both(tmp_path):
    (tmp_path / "base.toml").write_text("[training]\nepochs = 1\n")
    (tmp_path / "one.toml").write_text("extends = 'base.toml'\n[training]\nepochs = 2\n")
    (tmp_path / "two.toml").write_text("extends = 'base.toml'\n")
    path = write(tmp_path, "extends = ['one.toml', 'two.toml']\n")
    assert load_recipe(path).training.epochs == 2


ON = """
[dataset]
name = "sop"
[training]
epochs = 1
seed = 1
[on.sop]
training.epochs = 2
auxiliary-loss.name = "center"
[on.cars196-half.training]
epochs = 3
"""


def test_a_table_of_a_data_set_holds_with_this_one_only(tmp_path):
    path = write(tmp_path, ON)
    recipe = load_recipe(path)
    assert (recipe.training.epochs, recipe.training.seed) == (2, 1)
    assert recipe.names["auxiliary_loss"] == "center"
    recipe = load_recipe(path, ["--dataset.name", "cars196-half"])
    assert recipe.training.epochs == 3 and recipe.names["auxiliary_loss"] == "none"
    recipe = load_recipe(path, ["--dataset.name", "glyphs"])
    assert recipe.training.epochs == 1
    assert load_recipe(path, ["--training.epochs", "9"]).training.epochs == 9


def test_the_recipe_that_extends_it_chooses_the_data_set_and_wins(tmp_path):
    (tmp_path / "base.toml").write_text(ON)
    path = write(tmp_path, "extends = 'base.toml'\n[dataset]\nname = 'cars196-half'\n")
    assert load_recipe(path).training.epochs == 3
    path = write(tmp_path, "extends = 'base.toml'\n[training]\nepochs = 4\n")
    recipe = load_recipe(path)
    assert recipe.training.epochs == 4 and recipe.names["auxiliary_loss"] == "center"
    assert "[on" not in recipe.to_toml()


def test_a_table_may_hold_options_of_the_data_set_itself(tmp_path):
    (tmp_path / "base.toml").write_text("[on.cub200]\ndataset.protocol = 'seen-class'\n")
    path = write(
        tmp_path, "extends = 'base.toml'\n[dataset]\nname = 'cub200'\nvalidation_seed = 3\n"
    )
    for recipe in (load_recipe(path), load_recipe(path, ["--dataset.name", "cub200"])):
        assert (recipe.dataset.protocol, recipe.dataset.validation_seed) == ("seen-class", 3)
    assert load_recipe(path, ["--dataset.name", "cars196"]).dataset.protocol == "zero-shot"
    assert load_recipe(path, ["--dataset.name", "cars196"]).dataset.validation_seed == 0


def test_a_setting_on_a_data_set_of_its_paper_is_a_recipe():
    recipes = shipped_recipes()
    assert recipes["sop_proxy_anchor"].splitlines() == [
        "# Proxy Anchor, ResNet-50, 512-d, on Stanford Online Products",
        "# command: dml train sop_proxy_anchor",
        "",
        'extends = ["sop_paper", "proxy_anchor"]',
    ]
    assert read_source("sop_proxy_anchor").text == recipes["sop_proxy_anchor"]
    assert list(recipes) == sorted(recipes)


@pytest.mark.parametrize(
    "text, key, line",
    [
        ("\n[loss]\n\nmargin = 1\n", "loss.margin", 4),
        ("[loss]\n", "loss.margin", 1),
        ("[ loss ]\n'margin' = 1\n", "loss.margin", 2),
        ("loss = {margin = 1}\n", "loss.margin", 1),
        ("# loss\nloss.margin = 1\n", "loss", 2),
        ("[training]\nmargin = 1\n[loss]\nmargin = 1\n", "loss.margin", 4),
        ("[auxiliary-loss]\nname = 1\n", "auxiliary_loss.name", 2),
        ("[training]\nepochs = 1\n", "loss.margin", None),
    ],
)
def test_the_line_of_a_key(text, key, line, tmp_path):
    path = write(tmp_path, text)
    place = read_source(path).place(key)
    assert place == (f"{path}, line {line}" if line else str(path))
