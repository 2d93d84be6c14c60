"""Names in a recipe resolve to parts, or a similar one is suggested."""

from dataclasses import dataclass

import pytest

from dml._registry import Registry


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
