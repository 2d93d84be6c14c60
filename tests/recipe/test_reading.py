"""Recipes are read strictly: unknown names are errors with their place and a suggestion."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dml.datasets import Parquet, Table, WebDataset
from dml.errors import DataError, MissingDataError, OptionError
from dml.losses import ProxyAnchor, SoftTriple
from dml.recipe import load_dataset, load_recipe, with_options
from tests.datasets.layouts import png, write_parquet, write_tar


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
        ("[loss]\nmargin = 7\n", r"mine\.toml, line 2: loss\.margin must be in \[0, 1\]; got 7"),
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
        ("[loss]\nname = true\n", r"line 2: loss\.name must be a name; got True"),
        ("[loss]\nname = ['triplet']\n", r"line 2: loss\.name must be a name; got \['triplet'\]"),
        ("[dataset]\nname = ['sop']\n", r"line 2: dataset\.name must be a name; got \['sop'\]"),
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
    assert recipe.training.stage == "adapt" and recipe.optimizer.schedule == "cosine"
    assert load_recipe("cub200").training.stage == "adapt"
    assert load_recipe("cub200_triplet").training.stage == "full"
    assert load_recipe(tmp_path, ["--training.stage", "head"]).training.stage == "head"


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


def test_errors_name_the_option(tmp_path):
    with pytest.raises(OptionError) as error:
        load_recipe("glyphs", ["--training.epochs", "-1"])
    assert error.value.option == "training.epochs" and error.value.place == "command line"
    with pytest.raises(OptionError) as error:
        load_recipe(write(tmp_path, "[sampler]\nbatch_size = 'a'\n"))
    assert error.value.option == "sampler.batch_size"
    assert error.value.place == f"{tmp_path}/mine.toml, line 2"


@pytest.mark.parametrize(
    "flags, hint",
    [
        (["--training.warmup_epochs", "1"], "is unknown. Did you mean 'optimizer.warmup_epochs'"),
        (["--training.beside_weight", "1"], "is unknown. Did you mean 'auxiliary_loss_weight'"),
        (["--optimizer.rise_epochs", "1"], "is unknown. Did you mean 'warmup_epochs'"),
        (["--evaluation.false_accepts", "0.1"], "is unknown. Did you mean 'target_far'"),
        (["--evaluation.precision", "0.5"], "is unknown. Did you mean 'target_precision'"),
        (["--evaluation.also", "map"], "is unknown. Known: batch_size, ks, extra_metrics, "),
        (["--beside.name", "center"], "is not a section. Known: dataset, .*, auxiliary_loss, "),
        (["--training.batch_size", "8"], "is unknown. Did you mean 'sampler.batch_size'"),
        (["--training.margin", "1"], "is unknown. Did you mean 'loss.margin'"),
        (["--training.epoch", "1"], "is unknown. Did you mean 'epochs'"),
        (["--backbone.nam", "conv4"], "is unknown. Did you mean 'name'.* Known: name, "),
        (["--sampler.power", "1"], "is unknown. It is an option of sampler.name = 'weighted'. K"),
        (
            ["--loss.name", "triplet", "--loss.scale", "1"],
            "loss.name = 'adaface', .* and others. K",
        ),
    ],
)
def test_an_unknown_option_has_its_nearest_known_one(flags, hint):
    with pytest.raises(OptionError, match=hint):
        load_recipe("glyphs", ["--sampler.name", "shuffle", *flags])


def test_a_section_in_two_spellings_is_refused(tmp_path):
    text = '[auxiliary-loss]\nname = "center"\n[auxiliary_loss]\nname = "triplet"\n'
    with pytest.raises(DataError, match=r"mine\.toml: has the section auxiliary-loss twice"):
        load_recipe(write(tmp_path, text))


def test_flags_in_one_string_are_refused():
    with pytest.raises(OptionError, match=r"flags must be a list of strings, such as \['--train"):
        load_recipe("glyphs", "--training.epochs 3")


def test_a_name_may_be_a_path():
    assert load_recipe(Path("glyphs")).dataset.name == "glyphs"
    assert load_recipe(Path("omniglot")).dataset.name == "omniglot"


def test_a_data_set_alone_takes_its_options_and_no_others():
    part = load_dataset("glyphs", ["--dataset.protocol", "zero-shot"])
    assert type(part).__name__ == "Glyphs" and part.protocol == "zero-shot"
    with pytest.raises(OptionError, match=r"command line: dataset\.rot is unknown"):
        load_dataset("glyphs", ["--dataset.rot", "x"])
    with pytest.raises(OptionError, match=r"command line: loss\.name .*only --dataset options"):
        load_dataset("glyphs", ["--loss.name", "triplet"])
    with pytest.raises(OptionError, match=r"datset\.x can't be set .*Did you mean 'dataset'"):
        load_dataset("glyphs", ["--datset.x", "3"])
    with pytest.raises(MissingDataError, match=r"no data set or folder .*Did you mean 'glyphs'"):
        load_dataset("glyph")


def test_a_file_that_is_no_data_set_is_said_to_be_one_of_another_kind(tmp_path):
    (tmp_path / "mine.tsv").write_text("path\tlabel\n")
    for load in (load_dataset, load_recipe):
        with pytest.raises(DataError, match=r"mine\.tsv: not a data set: tables end in \.csv"):
            load(tmp_path / "mine.tsv")


def test_importing_it_and_reading_a_data_set_load_no_backend():
    code = (
        "import sys, dml.recipe as r; [getattr(r, name) for name in r.__all__]\n"
        "r.load_dataset('glyphs'); r.shipped_recipes()\n"
        "sys.exit(bool({'keras', 'tensorflow', 'jax', 'torch'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_other_options_make_another_recipe():
    recipe = load_recipe("glyphs")
    other = with_options(recipe, {"loss.scale": 8.0, "training.epochs": 3})
    assert (other.loss.scale, other.loss.margin) == (8, recipe.loss.margin)
    assert other.training.epochs == 3 != recipe.training.epochs
    assert other.dataset == recipe.dataset and other.optimizer == recipe.optimizer
    assert with_options(recipe, {}).to_toml() == recipe.to_toml()


@pytest.mark.parametrize(
    ("backbone", "batch_norm"),
    [
        (["--backbone.name", "resnet50"], "frozen"),
        (["--backbone.name", "vit_tiny"], "frozen"),
        (["--backbone.name", "resnet50", "--backbone.batch_norm", "train"], "train"),
        (["--backbone.name", "conv4"], "train"),  # from random weights
        (["--backbone.weights", "none"], "train"),
        (["--backbone.name", "resnet50", "--backbone.weights", "none"], "train"),
        (["--backbone.weights", "none", "--backbone.batch_norm", "frozen"], "frozen"),
        (["--backbone.name", "own"], "frozen"),
        (["--backbone.name", "own", "--backbone.weights", "none"], "frozen"),  # the file's own
        (["--backbone.name", "conv4", "--backbone.weights", "a.h5"], "frozen"),
        (["--backbone.name", "conv4", "--backbone.weights", "none"], "train"),
    ],
)
def test_batch_norm_of_a_recipe_stays_with_trained_weights(backbone, batch_norm):
    found = load_recipe("adapt", ["--dataset.name", "glyphs", *backbone]).backbone
    assert found.batch_norm == batch_norm
    assert found.input_size == type(found)().input_size  # other options are the part's own


@pytest.mark.parametrize("seed", ["-1", "4294967296"])
def test_a_seed_has_32_bits(seed):
    with pytest.raises(OptionError, match=r"training.seed must be in \[0, 4294967295\]"):
        load_recipe("glyphs", ["--training.seed", seed])


def test_another_part_drops_the_options_of_the_previous_one():
    recipe = with_options(load_recipe("glyphs"), {"loss.margin": 0.4})
    other = with_options(recipe, {"loss.temperature": 0.2, "loss.name": "soft_triple"})
    assert (other.loss.temperature, other.loss.margin) == (0.2, SoftTriple().margin)
    assert other.names["loss"] == "soft_triple"


@pytest.mark.parametrize(
    "options, message",
    [
        ({"loss.beta": 1}, "loss.beta is unknown"),
        ({"loss.margin": 2.0}, r"loss.margin must be in \[0, 1\]"),
        ({"los.margin": 2.0}, "los is not a section"),
        ({"training.epochs": "many"}, "training.epochs must be of type int"),
        ({"miner.name": "batch_hard"}, "miner does not fit the loss"),
    ],
)
def test_other_options_are_checked_as_well(options, message):
    with pytest.raises(OptionError, match=message):
        with_options(load_recipe("glyphs"), options)


def test_shards_tables_and_names_of_the_hub_are_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_tar(tmp_path / "shards/0.tar", {"a.png": png(), "a.cls": "1"})
    write_parquet(tmp_path / "images.parquet", [png()], label=[1])
    (tmp_path / "list.csv").write_text("path,label\na.png,1\n")
    sources = {
        "shards": WebDataset(root="shards"),
        "shards/0.tar": WebDataset(root="shards/0.tar"),
        "shards/{0..1}.tar": WebDataset(root="shards/{0..1}.tar"),
        "images.parquet": Parquet(root="images.parquet"),
        "hf:some/cars:train": Parquet(root="hf:some/cars:train"),
        "list.csv": Table(root="list.csv"),
    }
    for source, part in sources.items():
        assert load_recipe(source).dataset == load_dataset(source) == part
    root = load_recipe("shards/{0..1}.tar").with_absolute_paths().dataset.root
    assert root == f"{tmp_path}/shards/{{0..1}}.tar"
    for missing in ("other.tar", "other.parquet", "nowhere"):
        with pytest.raises(MissingDataError, match=f"{missing}: no "):
            load_dataset(missing)


def test_another_input_size_has_its_own_resized_side():
    sides = {
        (): (128, 146),  # of the recipe
        ("--backbone.input_size", "112"): (112, 128),
        ("--backbone.input_size", "112", "--backbone.resize_side", "112"): (112, 112),
        ("--backbone.resize_side", "160"): (128, 160),
    }
    for flags, expected in sides.items():
        found = load_recipe("cars196-half", flags).backbone.resolved()
        assert (found.input_size, found.resize_side) == expected
    recipe = load_recipe("cars196-half")
    options = {"backbone.resize_side": 120, "backbone.input_size": 112}
    assert with_options(recipe, options).backbone.resize_side == 120


@pytest.mark.parametrize("source", ["s3://bucket/train-{000..001}.tar", "https://a.b/c.csv"])
def test_a_source_at_a_url_is_refused(source):
    with pytest.raises(MissingDataError, match=r"can't be read from a URL: copy it here"):
        load_recipe(source)
