"""The folder of a data set, and the expected number of its images."""

import subprocess
import sys

import pytest

from dml.datasets import DATASETS, Items
from tests.datasets.layouts import cub200


def test_is_looked_for_under_the_folder_that_the_environment_names(tmp_path, monkeypatch):
    cub200(tmp_path / "CUB_200_2011")
    monkeypatch.setenv("DML_DATA", str(tmp_path))
    assert DATASETS["cub200"]().folder() == tmp_path / "CUB_200_2011"
    with pytest.raises(FileNotFoundError, match="sop"):
        DATASETS["sop"]().folder()


def test_data_sets_are_read_without_a_backend():
    heavy = "('keras', 'tensorflow', 'jax', 'torch')"
    code = (
        f"import sys, dml.datasets; sys.exit(str([m for m in {heavy} if m in sys.modules] or ''))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stderr.strip() == ""


@pytest.mark.parametrize("by", ["classes", "images"])
def test_few_classes_of_validation_are_noted(by):
    def items(names, validation):
        splits = ["train", "train", *validation]
        rows = list("1234")
        return Items.build(rows, names, splits, rows, "zero-shot", separator="|")

    part = DATASETS["table"](label_separator="|", validation=by)
    (note,) = part.validation_notes(items(["a", "a|b", "c|d", "c"], ["val", "val"]))
    said = "validation has 2 of 4 training classes, too few for a reliable R@1"
    assert note.startswith(said) and (note == said) == (by == "images")
    shared = items(["a", "a|b", "b", "b|c"], ["val", "val"])  # other sets, of the same labels
    assert by == "classes" or not list(part.validation_notes(shared))


@pytest.mark.parametrize("wanted", [3, 5])
def test_one_image_too_many_or_too_few_is_refused(tmp_path, wanted):
    expected = {"zero-shot": {"train": 4, "test": wanted}}
    kind = type("Counted", (DATASETS["cub200"],), {"expected": expected})
    with pytest.raises(ValueError, match=f"has 4 test images where the original has {wanted}"):
        kind(root=str(cub200(tmp_path))).items()
