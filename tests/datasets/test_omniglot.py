"""Omniglot, read from its zip files."""

import os

import pytest

from dml.datasets import DATASETS
from dml.images import read_image
from tests.datasets.layouts import part


def test_alphabets_of_both_archives_only_train(tmp_path):
    items = part(DATASETS, "omniglot", tmp_path).items()
    tested = items.select("test").class_names
    assert tested == tuple(f"{a}/character0{i}" for a in ("Sanskrit", "Tagalog") for i in (1, 2))
    assert all("small1" in path for path in items.select("train", "val").paths)


@pytest.mark.skipif("DML_DATA" not in os.environ, reason="DML_DATA names no folder of real images")
def test_real_data():
    items = DATASETS["omniglot"]().items()
    assert len(items.select("train", "val").class_names) == 136
    assert len(items.select("test").class_names) == 106
    assert len(set(items.super_labels.tolist())) == 8  # alphabets
    assert read_image(items.paths[0]).shape == (105, 105, 3)
