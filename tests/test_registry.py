"""Names in a recipe find their part, or a near one is suggested."""

import pytest

from dml.registry import Registry


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
