"""Tests specific to CUB-200-2011."""

from dml.datasets import DATASETS
from tests.datasets.layouts import cub200, part


def test_seen_class_is_the_official_image_split(tmp_path):
    options = {"protocol": "seen-class", "validation_fraction": 0.0}
    items = part(DATASETS, "cub200", tmp_path, **options).items()
    assert items.protocol == "seen-class"
    assert items.select("train").class_names == items.select("test").class_names
    assert items.splits.tolist() == ["train", "test"] * 4


def test_the_folder_above_will_do(tmp_path):
    kind = type("Small", (DATASETS["cub200"],), {"expected": {}})
    cub200(tmp_path / "CUB_200_2011")
    assert len(kind(root=str(tmp_path)).items()) == 8
