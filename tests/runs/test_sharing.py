"""On how many devices a training runs."""

import keras
import numpy as np
import pytest

from dml.datasets import Items
from dml.errors import OptionError
from dml.recipe import load_recipe
from dml.runs._sharing import Shares, check_shares, devices_to_resume, training_devices
from tests.reporters import Lines


def on(devices, batch=64, words=()):
    options = {"training.devices": devices, "sampler.name": "shuffle"}
    options["sampler.batch_size"] = batch
    return load_recipe(
        "glyphs", [*(f"--{name}={value}" for name, value in options.items()), *words]
    )


@pytest.fixture
def six_devices(monkeypatch):
    """Lets JAX have six devices."""
    monkeypatch.setattr("keras.backend.backend", lambda: "jax")
    monkeypatch.setattr("keras.distribution.list_devices", lambda: [f"cpu:{i}" for i in range(6)])


@pytest.mark.parametrize(
    "options, count",
    [
        ({"devices": 4}, 4),
        ({"devices": "all", "batch_size": 60}, 6),
        ({"devices": 2, "chunks": 32}, 2),
    ],
)
def test_devices_share_a_batch(six_devices, options, count):
    assert training_devices(**{"chunks": 1, "batch_size": 64, **options}) == count


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
        training_devices(**{"chunks": 1, "batch_size": 64, **options})
    assert str(error.value) == f"training.devices {text}"


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX trains on several")
def test_several_devices_need_jax():
    with pytest.raises(OptionError, match=r"^training\.devices must be 1 on .*--backend jax"):
        training_devices(2, 1, 64)
    with pytest.raises(OptionError, match=r"^training\.devices must be 1 on .*--backend jax"):
        devices_to_resume(on(2), no_items, Lines())


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
