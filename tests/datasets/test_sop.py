"""Tests specific to Stanford Online Products."""

from dml.datasets import DATASETS
from tests.datasets.layouts import part


def test_recall_is_at_the_customary_ranks(tmp_path):
    dataset = part(DATASETS, "sop", tmp_path)
    assert dataset.recall_ks == (1, 10, 100, 1000)
    assert dataset.items().select("test").class_names == (5, 6)


def test_super_labels_are_the_categories(tmp_path):
    items = part(DATASETS, "sop", tmp_path).items()
    assert items.super_labels.tolist() == [0, 0, 1, 1] * 2
    assert items.select("test").super_labels.tolist() == [0, 0, 1, 1]
