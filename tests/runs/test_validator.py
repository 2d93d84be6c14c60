"""Measuring on the validation split."""

import numpy as np
import pytest

from dml.datasets import Items
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs._validator import Validator
from tests.runs.running import flags

# The nearest of the first is the second, and the other way round; so are the third and the fourth.
VECTORS = np.array([[1, 0], [0.9, 0.1], [0, 1], [0.1, 0.9]], "float32")


def validator(exclude, **columns):
    items = Items(
        paths=np.array(list("abcd")),
        labels=np.array([0, 0, 0, 1], "int32"),
        class_names=("one", "two"),
        splits=np.array(["val"] * 4),
        ids=np.array(list("abcd")),
        protocol="zero-shot",
        **columns,
    )
    recipe = load_recipe("glyphs", flags(evaluation__exclude=exclude))
    return Validator(items, recipe.evaluation, recipe.training.threads, SILENT)


def test_images_search_each_other():
    found = validator("none").scores(VECTORS)
    # The last image has no other of its class, so it is no query.
    assert found.hits.tolist() == [1, 1, 0]
    assert validator("none").recall(VECTORS) == pytest.approx(2 / 3)


def test_those_of_the_same_class_and_camera_are_left_out():
    measured = validator("camera", cameras=np.array(["x", "x", "y", "y"]))
    # The first two no longer find each other, but the fourth, which is of another class.
    assert measured.scores(VECTORS).hits.tolist() == [0, 0, 0]
    measured = validator("camera", cameras=np.array(["x", "y", "x", "x"]))
    assert measured.scores(VECTORS).hits.tolist() == [1, 1, 0]
