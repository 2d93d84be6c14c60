"""The parts that the layouts of Stanford Cars share; the layouts are in test_cars196.py."""

import pytest

from dml.datasets._cars import table, zero_shot
from dml.errors import DataError


def test_the_first_half_of_the_classes_trains():
    rows = [("a.jpg", 98, "test"), ("b.jpg", 99, "train")]
    assert zero_shot(rows) == [("a.jpg", 98, "train"), ("b.jpg", 99, "test")]


def test_a_class_without_a_name_is_an_error(tmp_path):
    (tmp_path / "a.jpg").touch()
    rows = [("a.jpg", 1, "train")]
    items = table(tmp_path, rows, {1: "001 Audi"}, "zero-shot")
    assert items.class_names == ("001 Audi",) and items.ids.tolist() == ["a.jpg"]
    with pytest.raises(DataError, match="annotated as class 1, which has no name"):
        table(tmp_path, rows, {2: "002 BMW"}, "zero-shot")
