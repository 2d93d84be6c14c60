"""Every shipped recipe is complete, has a correct header, and can start."""

import re
import tomllib

import keras
import numpy as np
import pytest

from dml.backbones import Conv4
from dml.cli import main
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.recipe import load_recipe, shipped_recipes
from dml.training.learner import Learner
from dml.training.optimizers import build_optimizer

DATASETS = ("cub200", "cars196", "sop", "inshop")
SETTINGS = (
    "proxy_nca",
    "proxy_nca_pp",
    "proxy_anchor",
    "soft_triple",
    "multi_similarity",
    "triplet",
    "adapted_triplet",
    "dml_tf",
)
PAIRS = [(dataset, setting) for dataset in DATASETS for setting in SETTINGS]
PAPERS = [f"{dataset}_{setting}" for dataset, setting in PAIRS]
# The recipes with a result; the others are settings and data sets, to build on.
NAMES = sorted({*PAPERS, "glyphs", "omniglot", "cars196-half"})
# Classes of the training split.
CLASSES = {"cub200": 100, "cars196": 98, "sop": 11318, "inshop": 3997}


def read_fields(lines, where):
    """Returns {field: texts} of comments `# field: text`; a field may occur more than once."""
    fields = {}
    for line in lines:
        if match := re.match(r"# ([a-z]+): (.+)", line):
            fields.setdefault(match[1], []).append(match[2])
        else:
            assert line.startswith("#     "), f"{where}: {line!r} is neither a field nor its rest"
            fields[list(fields)[-1]][-1] += " " + line[1:].strip()
    return fields


def header(name):
    """Returns the title and the fields of a recipe's header.

    A setting on a data set adds those of the setting's header and of its table for the data set.
    """
    title, *rest = shipped_recipes()[name].split("\n\n")[0].splitlines()
    fields = read_fields(rest, name)
    for dataset, setting in PAIRS:
        if name == f"{dataset}_{setting}":
            text = shipped_recipes()[setting]
            own = text.partition(f"\n[on.{dataset}]\n")[2].partition("\n\n")[0]
            lines = [line for line in own.splitlines() if re.match(r"# ([a-z]+:|    )", line)]
            shared = {k: v for k, v in header(setting)[1].items() if k != "command"}
            for key, texts in (*shared.items(), *read_fields(lines, name).items()):
                fields[key] = fields.get(key, []) + texts
    return title, fields


@pytest.fixture(scope="module")
def encoder():
    backbone = Conv4(input_size=16, resize_side=16, filters=4)
    return build_encoder(backbone, EmbeddingOptions(dim=4))


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("dataset", DATASETS)
def test_there_is_one_for_every_setting_and_data_set(setting, dataset):
    recipe = load_recipe(f"{dataset}_{setting}")
    assert recipe.names["dataset"] == dataset
    assert recipe.names["loss"] == ("proxy_nca" if setting == "dml_tf" else setting)
    # It is the setting with this data set, except for the options of the setting's table.
    with_flags = load_recipe(setting, ["--dataset.name", dataset, *VALIDATION])
    assert recipe.to_toml() == with_flags.to_toml()
    own = tomllib.loads(shipped_recipes()[setting])["on"][dataset]
    setting = tomllib.loads(load_recipe(setting).to_toml())
    for section, options in tomllib.loads(recipe.to_toml()).items():
        if section != "dataset":
            assert options == {**setting[section], **own.get(section, {})}


VALIDATION = ["--dataset.validation_fraction", "0"]


def test_options_of_a_setting_on_a_data_set():
    """Values of the authors' commands: https://github.com/tjddus9597/Proxy-Anchor-CVPR2020."""
    cub, cars, sop = (load_recipe(f"{name}_proxy_anchor") for name in ("cub200", "cars196", "sop"))
    rates = [
        (
            r.optimizer.learning_rate,
            r.optimizer.decay,
            r.optimizer.decay_epochs,
            r.sampler.batch_size,
        )
        for r in (cub, cars, sop)
    ]
    assert rates == [(1e-4, 0.5, 5, 120), (1e-4, 0.5, 10, 120), (6e-4, 0.25, 20, 180)]
    warm = [r.training.freeze_backbone_epochs for r in (cub, cars, sop)]
    assert warm == [5, 5, 1]


@pytest.mark.parametrize("dataset", ["cub200", "cars196"])
def test_the_first_table_of_dml_tf(dataset):
    """Values of its README and train/config.py at 1df42c0: https://github.com/shi510/dml-tf."""
    recipe = load_recipe(f"{dataset}_dml_tf_first")
    assert (recipe.names["backbone"], recipe.names["loss"]) == ("inception_v3", "proxy_nca")
    assert (recipe.sampler.batch_size, recipe.embedding.dim, recipe.training.epochs) == (64, 64, 15)
    assert recipe.dataset.protocol == "seen-class" and recipe.dataset.validation_fraction == 0
    optimizer = recipe.optimizer
    assert (optimizer.name, optimizer.learning_rate, optimizer.schedule) == (
        "adam",
        1e-4,
        "constant",
    )
    # |x - 8 p|^2 of unit vectors is 65 - 16 cos.
    assert recipe.loss.form == "squared_distance" and 2 * recipe.loss.scale == 16
    # Proxies of length 8 there, of length 1 here, turned as far by a step.
    assert optimizer.head_learning_rate / recipe.loss.initial_proxy_length == 1e-4 / 8


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_names_its_source_and_takes_any_data_set(setting, tmp_path):
    title, fields = header(setting)
    assert title.endswith(": a setting for any data set")
    assert set(fields) - {"differs"} == {"command", "source", "hardware", "time"}
    assert all(len(fields[key]) == 1 for key in set(fields) - {"differs"})
    assert fields["command"] == [f"dml train {setting} --dataset.name folder --dataset.root IMAGES"]
    path = tmp_path / "mine.toml"
    path.write_text(f'extends = "{setting}"\n[dataset]\nname = "folder"\nroot = "."\n')
    mine, paper = load_recipe(path), load_recipe(f"cub200_{setting}")
    assert mine.dataset.validation_fraction > 0
    ours, theirs = (
        {k: v for k, v in tomllib.loads(r.to_toml()).items() if k != "dataset"}
        for r in (mine, paper)
    )
    assert ours == theirs


@pytest.mark.parametrize("dataset", DATASETS)
def test_a_data_set_as_in_the_papers(dataset):
    recipe = load_recipe(f"{dataset}_paper")
    assert recipe.names["dataset"] == dataset and recipe.dataset.validation_fraction == 0
    assert load_recipe(dataset).dataset.validation_fraction > 0


@pytest.mark.parametrize("name", ["glyphs", "omniglot", "cars196-half"])
def test_a_small_data_set_has_a_recipe_of_its_name(name):
    assert load_recipe(name).names["dataset"] == name


@pytest.mark.parametrize("name", NAMES)
def test_the_header_has_a_title_and_every_field_once(name):
    title, fields = header(name)
    assert re.fullmatch(r"# [A-Za-z].{20,90}[^.?]", title)
    required = {"command", "hardware", "time", "expect", "source"}
    assert required <= set(fields) <= required | {"differs"}
    assert all(len(fields[key]) == 1 for key in required)


@pytest.mark.parametrize("name", NAMES)
def test_the_command_names_this_recipe(name):
    assert header(name)[1]["command"] == [f"dml train {name}"]


@pytest.mark.parametrize("name", PAPERS)
def test_a_published_result_names_its_metric_and_protocol(name):
    _, fields = header(name)
    expected, recipe = fields["expect"][0], load_recipe(name)
    if expected.startswith("not published"):
        return
    assert re.match(r"R@1[/\d]* \d\d", expected)
    protocol = getattr(recipe.dataset, "protocol", recipe.dataset.protocols[0])
    assert protocol in expected
    ks = recipe.evaluation.ks or recipe.dataset.recall_ks
    quoted = re.match(r"R@([\d/]+)", expected)[1]
    if recipe.names["loss"] != "proxy_nca":  # whose code has the same K on every data set
        assert [int(k) for k in quoted.split("/")] == list(ks[: quoted.count("/") + 1])
    if "BN-Inception" in expected:
        assert any("BN-Inception" in text for text in fields["differs"]), "say what replaces it"


@pytest.mark.parametrize("name", PAPERS)
def test_a_paper_setting_trains_on_all_training_classes(name):
    assert load_recipe(name).dataset.validation_fraction == 0


@pytest.mark.parametrize("name", NAMES)
def test_its_parts_make_a_learner_with_an_optimizer(name, encoder):
    recipe = load_recipe(name)
    learner = Learner(
        encoder,
        recipe.loss,
        classes=5,
        augmentation=recipe.augmentation.layers(seed=0),
        regularizer=recipe.regularizer,
    )
    optimizer = build_optimizer(
        learner,
        recipe.optimizer,
        10,
        recipe.training.epochs,
        recipe.training.freeze_backbone_epochs,
    )
    learner.compile(optimizer)
    image = np.zeros((300, 260, 3), np.uint8)
    side = recipe.backbone.input_size
    crop = recipe.augmentation.crop(image, side, np.random.default_rng(0))
    assert crop.shape == (side, side, 3)


@pytest.mark.parametrize("name", PAPERS)
def test_its_sampler_finds_its_batches_in_the_data_set(name):
    recipe = load_recipe(name)
    images = recipe.dataset.expected[recipe.dataset.expected_key()]["train"]
    classes = CLASSES[recipe.names["dataset"]]
    rng = np.random.default_rng(0)  # uneven classes, of 2 images or more
    labels = np.r_[np.repeat(np.arange(classes), 2), rng.integers(0, classes, images - 2 * classes)]
    batches = recipe.sampler.batches(labels, epoch=0, seed=0)
    assert batches.size > 0.9 * images or len(np.unique(labels[batches])) == classes


@pytest.mark.slow
@pytest.mark.parametrize("network", sorted({load_recipe(n).names["backbone"] for n in NAMES}))
def test_its_network_takes_its_input_size(network):
    from dml.backbones import BACKBONES

    recipes = (recipe for recipe in map(load_recipe, NAMES) if recipe.names["backbone"] == network)
    size = min(recipe.backbone.input_size for recipe in recipes)  # what takes it takes larger ones
    part = BACKBONES[network](weights="none", input_size=size, resize_side=size)
    assert isinstance(part.network(), keras.Model)


def test_dml_recipes_lists_each_with_its_title(capsys):
    assert main(["recipes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = sorted(shipped_recipes())
    assert [line.split()[0] for line in lines] == names
    for name, line in zip(names, lines, strict=True):
        assert header(name)[0].removeprefix("# ") in line
