"""Characters of random strokes."""

import numpy as np
import pytest

from dml.datasets import DATASETS
from dml.images import read_image

Glyphs = DATASETS["glyphs"]


def images(**options):
    items = Glyphs(classes=4, samples=3, **options).items()
    return np.stack([read_image(path) for path in items.paths])


def test_the_same_bytes_for_the_same_seed():
    assert (images(seed=5) == images(seed=5)).all()
    assert (images(seed=5) != images(seed=6)).any()


def test_any_size_and_number():
    assert images(size=96).shape == (12, 96, 96, 3)
    assert len(Glyphs(classes=5000, samples=2).items()) == 10_000


def test_no_two_drawings_are_equal():
    drawn = images().reshape(12, -1)
    assert len(np.unique(drawn, axis=0)) == 12


def test_seen_class_splits_the_drawings():
    items = Glyphs(classes=4, samples=6, protocol="seen-class", validation_fraction=0.0).items()
    assert np.bincount(items.select("test").labels).tolist() == [3, 3, 3, 3]


@pytest.mark.parametrize(
    "options",
    [{"classes": 1}, {"samples": 0}, {"size": 7}, {"seed": -1}, {"samples": 10**30}],
)
def test_refuses_options_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        Glyphs(**options)
