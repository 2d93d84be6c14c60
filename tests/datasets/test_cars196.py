"""Tests specific to Cars196."""

import numpy as np
import pytest
from scipy.io import savemat

from dml.datasets import DATASETS
from tests.datasets.layouts import cars196, cars196_old, part


def small():
    return type("Small", (DATASETS["cars196"],), {"expected": {}})


def test_both_layouts_give_the_same_splits(tmp_path):
    cars196_old(tmp_path / "old")
    cars196(tmp_path / "new")
    for protocol, train in (("zero-shot", 8), ("seen-class", 8)):
        for layout in ("old", "new"):
            options = {"protocol": protocol, "validation_fraction": 0.0}
            items = small()(root=str(tmp_path / layout), **options).items()
            assert len(items.select("train")) == train
            assert len(items.class_names) == 4 and items.class_names[0] == "001 Car 1"


def test_seen_class_has_every_class_on_both_sides(tmp_path):
    items = part(DATASETS, "cars196", tmp_path, protocol="seen-class").items()
    assert items.select("train").class_names == items.select("test").class_names


def test_a_class_without_a_name_is_refused(tmp_path):
    dataset = part(DATASETS, "cars196-half", tmp_path)
    rows = np.array([(197, "00002.jpg")], dtype=[("class", "f8"), ("fname", "O")])  # of one row
    savemat(tmp_path / "devkit" / "cars_train_annos.mat", {"annotations": rows})
    with pytest.raises(ValueError, match=r"00002\.jpg: annotated as class 197"):
        dataset.items()


def test_annotations_without_labels_are_refused(tmp_path):
    cars196(tmp_path)
    file = tmp_path / "devkit" / "cars_test_annos_withlabels.mat"
    savemat(file, {"annotations": {"fname": "00001.jpg"}})
    with pytest.raises(ValueError, match=r"cars_test_annos_withlabels\.mat: has no classes"):
        small()(root=str(tmp_path)).items()
