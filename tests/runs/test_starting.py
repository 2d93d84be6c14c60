"""Checks and descriptions before a training starts."""

import keras
import numpy as np
import pytest

from dml.datasets import Folder, Glyphs, Items
from dml.errors import OccupiedError, OptionError
from dml.recipe import load_recipe
from dml.runs._parameters import Parameters
from dml.runs._starting import (
    Shares,
    check_devices,
    check_out,
    check_shares,
    describe_training,
    devices_to_resume,
    free_folder,
    run_name,
    unused_options,
    with_smaller_batches,
)
from tests.reporters import Lines


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


def test_a_run_is_not_among_the_images(tmp_path):
    (tmp_path / "photos/cat").mkdir(parents=True)
    (tmp_path / "photos/cat/1.jpg").touch()
    dataset = Folder(root=str(tmp_path / "photos"))
    for out in ("photos", "photos/cat", "photos/../photos"):
        with pytest.raises(OccupiedError, match=r"is a folder of the images: choose another --out"):
            check_out(tmp_path / out, dataset)
    begun = tmp_path / "photos" / "begun"  # by `dml run`, which plans before it trains
    begun.mkdir()
    (begun / "steps.json").write_text("{}")
    for out in ("photos/run", "photos/begun", "run", "."):
        check_out(tmp_path / out, dataset)
    (begun / "cat.png").write_bytes(b"")
    with pytest.raises(OccupiedError, match="is a folder of the images"):
        check_out(begun, dataset)
    check_out(tmp_path, Glyphs())  # of no folder


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


def on(devices, batch=64, chunks=1, words=()):
    options = {"training.devices": devices, "training.chunks": chunks, "sampler.name": "shuffle"}
    options["sampler.batch_size"] = batch
    return load_recipe(
        "glyphs", [*(f"--{name}={value}" for name, value in options.items()), *words]
    )


def test_a_head_alone_has_no_use_for_options_of_the_backbone():
    options = {
        "backbone.lora_rank": 2,
        "optimizer.layer_decay": 0.5,
        "training.freeze_backbone_epochs": 1,
        "training.chunks": 2,
        "training.train_blocks": 0,
        "training.average": "ema",
    }
    flags = [f"--{name}={value}" for name, value in options.items()]
    head = load_recipe("adapt", [*flags, "--training.stage=head"])
    assert unused_options(head) == list(options)
    assert unused_options(load_recipe("adapt", flags)) == []
    assert unused_options(load_recipe("adapt", ["--training.stage=head"])) == []


@pytest.mark.parametrize("sampler", ["shuffle", "weighted"])
def test_an_epoch_of_few_images_has_two_batches(sampler):
    recipe = load_recipe("glyphs", ["--sampler.name", sampler, "--sampler.batch_size", "64"])
    assert with_smaller_batches(recipe, 64) is recipe  # the whole set at once, as asked for
    assert with_smaller_batches(recipe, 41).sampler.batch_size == 20
    assert with_smaller_batches(recipe, 1).sampler.batch_size == 1


@pytest.mark.parametrize("recipe", [load_recipe("glyphs"), on(2), on(1, chunks=2)])
def test_batches_of_whole_classes_or_in_parts_stay_as_they_are(recipe):
    assert with_smaller_batches(recipe, 41) is recipe


@pytest.fixture
def six_devices(monkeypatch):
    """Lets JAX have six devices."""
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: [f"cpu:{i}" for i in range(6)])


@pytest.mark.parametrize(
    "options, count",
    [({"devices": 4}, 4), ({"devices": "all", "batch": 60}, 6), ({"devices": 2, "chunks": 32}, 2)],
)
def test_devices_share_a_batch(six_devices, options, count):
    assert check_devices(on(**options)) == count


@pytest.mark.parametrize(
    "options, text",
    [
        ({"devices": 7}, "must be at most 6, as JAX finds no more; got 7"),
        (
            {"devices": "all"},
            "must share a batch evenly; got 6 devices and a batch of 64. The "
            "nearest batches are of 60 or 66 images",
        ),
        (
            {"devices": 4, "chunks": 32},
            "must share 32 chunks of a batch evenly; got 4 devices and a "
            "batch of 64. The nearest batches are of 128 images",
        ),
    ],
)
def test_devices_that_can_not_share_a_batch_are_refused(six_devices, options, text):
    with pytest.raises(OptionError) as error:
        check_devices(on(**options))
    assert str(error.value) == f"training.devices {text}"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX trains on several")
def test_several_devices_need_jax():
    for find in (check_devices, lambda recipe: devices_to_resume(recipe, no_items, Lines())):
        with pytest.raises(OptionError, match=r"^training\.devices must be 1 on .*--backend jax"):
            find(on(2))


def test_a_run_goes_on_with_as_many_devices_as_there_are(six_devices):
    lines = Lines()
    assert devices_to_resume(on(4), no_items, lines) == 4
    assert devices_to_resume(on("all", batch=60), no_items, lines) == 6
    assert devices_to_resume(on("all"), no_items, lines) == 4  # which share 64 images
    assert devices_to_resume(on(1), no_items, lines) == 1
    assert not lines
    assert devices_to_resume(on(8), no_items, lines) == 4
    assert lines == [
        "note: going on with 4 of 8 devices, as many as are here and can share a batch of 64 "
        "images evenly; the numbers differ in their rounding only"
    ]


def no_items():
    raise AssertionError("proxies are whole on each device")


@pytest.mark.parametrize(
    "options, count",
    [
        ({}, 4),  # not by the 10 classes, but by the 8 dimensions
        ({"embedding.dim": 9}, 3),
        ({"embedding.dim": 9, "training.nested_dims": 4}, 2),
        ({"head.sample": 0.5, "embedding.dim": 9}, 3),
        ({"head.sample": 0.3, "embedding.dim": 7}, 1),  # 3 of 10 classes
        ({"training.refit": "true", "embedding.dim": 7}, 1),  # later of 13 classes
    ],
)
def test_devices_that_can_not_share_the_proxies_do_not_go_on(six_devices, options, count):
    classes = np.repeat(np.arange(14), 2)
    splits = np.repeat(["train"] * 10 + ["val"] * 3 + ["test"], 2)
    items = Items.build(range(28), classes, splits, range(28), "zero-shot")
    options = {"embedding.dim": 8, "training.shard_proxies": "true", **options}
    words = [f"--{name}={value}" for name, value in options.items()]
    recipe = on(6, 24, words=words)
    lines, shares = Lines(), Shares.of(recipe, lambda: items)
    assert devices_to_resume(recipe, lambda: items, lines) == count == shares.most(6)
    assert f"{count} of 6 devices" in lines[0] and "24 images and the proxies evenly" in lines[0]
    check_shares(shares, count)
    with pytest.raises(OptionError, match="6 devices can share evenly; got"):
        check_shares(shares, 6)
