"""The training half of Stanford Cars, on the real data."""

import os

import pytest

from dml.datasets import DATASETS


@pytest.mark.skipif("DML_DATA" not in os.environ, reason="DML_DATA names no folder of real images")
def test_real_data():
    items = DATASETS["cars196-half"]().items()
    train, test = items.select("train", "val"), items.select("test")
    assert (len(train), len(train.class_names)) == (4052, 98)
    assert (len(test), len(test.class_names)) == (4092, 98)
    assert max(train.class_names) < "099" <= min(test.class_names)
