"""Tests specific to In-Shop: queries search a gallery."""

import pytest

from dml.datasets import DATASETS
from tests.datasets.layouts import part


def test_queries_and_gallery_are_apart(tmp_path):
    items = part(DATASETS, "inshop", tmp_path).items()
    assert items.protocol == "query-gallery"
    assert not set(items.select("query").ids) & set(items.select("gallery").ids)
    assert DATASETS["inshop"].recall_ks == (1, 10, 20, 30)


def test_an_unknown_split_is_named(tmp_path):
    dataset = part(DATASETS, "inshop", tmp_path)
    file = tmp_path / "list_eval_partition.txt"
    file.write_text(file.read_text().replace("gallery", "galery", 1))
    with pytest.raises(ValueError, match="is of split 'galery'"):
        dataset.items()


def test_super_labels_are_the_categories(tmp_path):
    items = part(DATASETS, "inshop", tmp_path).items()
    assert items.super_labels.tolist() == [0, 0, 1, 1] * 2
