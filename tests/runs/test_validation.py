"""Scores in validation, read from the files of a run."""

import json

import pytest

from dml._storage.run_folder import RunFolder
from dml.datasets import Items
from dml.errors import DataError
from dml.recipe import TrainingOptions
from dml.runs._validation import is_measured, validation_curve, validation_score


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.begin("", ())
    for stage, scores in ((folder, [0.5, None, 0.9, 0.7]), (folder.head_stage, [0.4, 0.6])):
        for epoch, score in enumerate(scores):
            row = {} if score is None else {"val_recall_at_1": score}
            stage.append_log({"epoch": epoch, **row})
    return folder


def test_the_curve_goes_through_the_stages(folder):
    assert validation_curve(folder) == [0.4, 0.6, 0.5, 0.9, 0.7]


@pytest.mark.parametrize(
    "options, score",
    [
        ({}, 0.9),
        ({"select": "last"}, 0.7),
        ({"stage": "head"}, 0.6),
        ({"stage": "adapt"}, 0.9),
    ],
)
def test_the_score_is_that_of_the_epoch_that_is_kept(folder, options, score):
    assert validation_score(folder, TrainingOptions(**options)) == score


def test_the_score_of_a_selection_is_that_of_the_chosen(folder):
    rows = [("before training", 0.3, False), ("head", 0.8, True), ("fine-tuned", 0.85, False)]
    fields = ("name", "validation", "chosen")
    candidates = [dict(zip(fields, row, strict=True)) for row in rows]
    folder.write_json(folder.selection, {"candidates": candidates})
    assert validation_score(folder, TrainingOptions(stage="adapt")) == 0.8
    folder.selection.write_text(json.dumps({"candidates": []}))
    with pytest.raises(DataError, match=r"selection\.json"):
        validation_score(folder, TrainingOptions())


def test_without_validation_there_is_no_score(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    assert validation_score(folder, TrainingOptions()) is None and validation_curve(folder) == []


@pytest.mark.parametrize(
    ("labels", "measured"),
    [
        ("aabb", True),
        ("aaaa", False),
        ("aaab", False),  # b has nothing to find
    ],
)
def test_two_classes_must_have_something_to_find(labels, measured):
    items = Items.build(list("1234"), list(labels), ["val"] * 4, list("1234"), "zero-shot")
    assert is_measured(items.select("val")) is measured
