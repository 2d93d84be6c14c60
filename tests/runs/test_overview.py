"""What the page of a whole run shows of its files."""

import json

import pytest

from dml._storage.run_folder import RunFolder
from dml.evaluation import CalibratedThreshold, ThresholdKind
from dml.report._overview import ScoreRow, StageRow
from dml.runs import Evaluation, MetricValue
from dml.runs._overview import overview_of


@pytest.fixture
def folder(tmp_path):
    """A run with a baseline and two logged epochs."""
    folder = RunFolder(tmp_path / "run").create()
    folder.begin("", ())
    folder.write_json(folder.frozen, {"dimension": 8, "validation": 0.5, "metrics": {}})
    for epoch, score in ((0, 0.4), (1, 0.7), (2, 0.6)):
        row = {"epoch": epoch, "val_recall_at_1": score}
        folder.append_log({**row, "seconds": 30.0} if epoch else row)
    return folder


def overview(folder, expected=None, took=None, select="best", **changes):
    fields = {
        "path": folder.path / "evaluation" / "photos",
        "dataset": "photos",
        "protocol": "zero-shot",
        "queries": 1200,
        "excluded": 0,
        "gallery": 1200,
        "classes": 40,
        "metrics": {"R@1": MetricValue(0.75, 0.7, 0.8), "NMI": MetricValue(0.5)},
        "frozen": {"R@1": MetricValue(0.6, 0.5, 0.7)},
        "seconds": 12.0,
    }
    evaluation = Evaluation(**{**fields, **changes})
    return overview_of(folder, evaluation, ("five lines",), expected or {}, took or {}, select)


def test_metrics_are_those_of_the_frozen_network_too(folder):
    page = overview(folder)
    assert [(m.name, m.value, m.frozen) for m in page.metrics] == [("R@1", 0.75, 0.6)]
    assert page.subtitle == "1,200 test images of 40 classes, zero-shot protocol"
    alone = overview(folder, frozen={})
    assert [m.name for m in alone.metrics] == ["R@1", "NMI"]


def test_without_a_choice_the_best_epoch_is_the_result(folder):
    assert overview(folder).scores == [
        ScoreRow("frozen network", 0.5),
        ScoreRow("training, epoch 1", 0.7, chosen=True),
    ]
    folder.log.rename(folder.path / "moved")
    folder.head_stage.append_log({"epoch": 3, "val_recall_at_1": 0.65})
    assert overview(folder).scores[1:] == [ScoreRow("head stage, epoch 3", 0.65, chosen=True)]


def test_the_last_epoch_is_the_result_if_the_recipe_says_so(folder):
    assert overview(folder, select="last").scores[1:] == [
        ScoreRow("training, epoch 2", 0.6, chosen=True)
    ]


def test_candidates_are_named_with_the_chosen_one(folder):
    rows = [("before training", None, 0.45), ("head", None, 0.6), ("fine-tuned", 0.25, 0.8)]
    candidates = [
        {"name": name, "share": share, "validation": score, "chosen": score == 0.8}
        for name, share, score in rows
    ]
    folder.write_json(folder.selection, {"candidates": candidates})
    assert overview(folder).scores == [
        ScoreRow("frozen network", 0.5),
        ScoreRow("embedding before training", 0.45),
        ScoreRow("head stage", 0.6),
        ScoreRow("fine-tuning, 25 % of the way", 0.8, chosen=True),
    ]


def test_without_a_validation_split_nothing_is_scored(folder):
    folder.write_json(folder.frozen, {"dimension": 8, "validation": None, "metrics": {}})
    assert overview(folder).scores == []


def test_expected_and_real_times(folder):
    expected = {
        "planning": 5.0,
        "reading": 2.0,
        "training": 50.0,
        "second stage": 9.0,
        "export": 9.0,
    }
    folder.write_json(folder.times, {"reading": 3.0, "training": 60.0})
    page = overview(folder, expected, {"training": 80.0, "export": 11.0})
    assert page.stages == [
        StageRow("planning", "5 s", "5 s"),
        StageRow("reading", "2 s", "3 s"),
        StageRow("training", "50 s", "60 s"),
        StageRow("second stage", "9 s", "not needed"),
        StageRow("export", "9 s", "11 s"),
        StageRow("together", "75 s", "96 s"),
    ]
    interrupted = overview(folder, expected, {"training": 0.0, "export": 11.0})
    assert interrupted.stages[-1] == StageRow("together", "75 s", "79 s")
    killed = overview(folder, expected, {"export": 11.0})  # as it was to note the training's time
    assert killed.stages[-1] == StageRow("together", "75 s", "79 s")
    assert overview(folder).stages == []


def test_thresholds_commands_and_the_files_that_exist(folder):
    kind = ThresholdKind.PRECISION
    thresholds = (CalibratedThreshold(kind, 0.75, 0.9, 0.92, 0.9, 100, 0.5, 0.912),)
    page = overview(folder, thresholds=thresholds)
    assert page.thresholds == [(0.75, "at least 90 % right", "91.2 %")]
    assert ("A page to search by image", f"dml serve {folder.index}") in page.commands
    assert [link.address for link in page.links] == ["log.jsonl"]
    folder.index.mkdir()
    folder.report.write_text(json.dumps({}))
    links = [link.address for link in overview(folder).links]
    assert links == ["report.html", "index", "log.jsonl"]
