"""Names in a recipe resolve to parts, or a similar one is suggested."""

from dataclasses import dataclass

import pytest

from dml._registry import Registry, suggestion


def test_registers_and_finds():
    parts = Registry("loss")
    parts.register("circle")(int)
    assert parts["circle"] is int


def test_refuses_a_taken_name():
    parts = Registry("loss")
    parts.register("circle")(int)
    with pytest.raises(ValueError, match="already"):
        parts.register("circle")(float)


def test_suggests_the_nearest_name():
    parts = Registry("loss")
    parts.register("circle")(int)
    with pytest.raises(KeyError, match="Did you mean 'circle'"):
        parts["circel"]


def test_a_part_comes_back_from_its_config():
    parts = Registry("miner")

    @parts.register("near")
    @dataclass(frozen=True)
    class Near:
        margin: float = 0.5

    config = parts.config_of(Near(margin=0.2))
    assert config == {"name": "near", "margin": 0.2} and parts.part_of(config) == Near(margin=0.2)


NAMES = ["epochs", "decay_epochs", "warmup_epochs", "target_far", "weight_decay"]
TEXTS = {
    "epochs": "Passes over the training split.",
    "decay_epochs": "Epochs between two decays.",
    "warmup_epochs": "Epochs in which the rate rises linearly.",
    "verification": "Whether to measure the true accept rate at small false accept rates.",
    "target_far": "False accept rate that the threshold promises.",
}


@pytest.mark.parametrize(
    "name, near",
    [
        ("epoch", "epochs"),
        ("decy_epochs", "decay_epochs"),
        ("decay_weight", "weight_decay"),
        ("far", "target_far"),  # all of its words
        ("rise_epochs", "warmup_epochs"),  # "rises", by its documentation
        ("false_accepts", "target_far"),  # of two, the one whose text begins with it
        ("long_decay", "weight_decay"),  # one word
        ("beside", None),
    ],
)
def test_what_is_near(name, near):
    expected = f" Did you mean {near!r}?" if near else ""
    assert suggestion(name, NAMES, TEXTS) == expected


def test_a_name_that_is_known_elsewhere():
    place = ["loss.margin"]
    assert suggestion("margin", NAMES, TEXTS, place) == " Did you mean 'loss.margin'?"
    assert suggestion("decy_epochs", NAMES, TEXTS, place) == " Did you mean 'decay_epochs'?"
