"""Rows of the log at Weights & Biases, without a network."""

import importlib.util
import json
import struct
import time

import pytest
from wandb.proto.wandb_internal_pb2 import Record

from dml.errors import OptionError, PackageError
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs import Trainer
from dml.runs._trackers import WandbTracker
from tests.runs.running import flags, train


def records(data):
    """Yields the records of an offline run: LevelDB's log format, after a head of 7 bytes."""
    at, record = 7, b""
    while len(data) - at > 7:
        left = 32768 - at % 32768  # of the block
        if left < 7:
            at += left
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        record += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield Record.FromString(record)
            record = b""


def sent(folder):
    """Returns the rows that the only offline run in a folder holds, and its recipe."""
    (file,) = folder.glob("wandb/offline-run-*/*.wandb")
    return held(file)


def held(file):
    """Returns the rows that an offline run holds, and its recipe."""
    while not any(record.HasField("exit") for record in records(file.read_bytes())):
        time.sleep(0.2)  # on a busy machine, W&B's process writes on after the end of a run
    rows, recipe = [], {}
    for record in records(file.read_bytes()):
        if record.HasField("run"):
            recipe = {item.key: json.loads(item.value_json) for item in record.run.config.update}
        elif record.HasField("history"):
            row = {"".join(item.nested_key): item.value_json for item in record.history.item}
            rows.append({k: json.loads(v) for k, v in row.items() if not k.startswith("_")})
    return rows, recipe


def test_rows_are_sent_with_the_recipe(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    with WandbTracker(tmp_path / "head", "mine", "[training]\nepochs = 7\n", SILENT) as tracker:
        assert not (tmp_path / "head").exists()  # a stage without a row leaves none
        log = [{"epoch": 0.5, "val_recall_at_1": 0.25}, {"epoch": 1, "loss": 1.5}]
        for row in log:
            tracker.write(row)
    rows, recipe = sent(tmp_path / "head")
    assert rows == log and recipe["training"] == {"epochs": 7}
    with WandbTracker(tmp_path / "head", "mine", "[training]\nepochs = 7\n", SILENT) as tracker:
        tracker.write({"epoch": 2, "loss": 1.0})  # after it was resumed
    files = list((tmp_path / "head/wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1  # one run, whose name this is
    assert {"epoch": 2, "loss": 1.0} in [row for file in files for row in held(file)[0]]


def test_a_service_that_can_not_be_used_is_one_line(tmp_path, monkeypatch):
    import wandb

    def refused(**options):
        raise wandb.errors.UsageError("no key")

    monkeypatch.setattr(wandb, "init", refused)
    with pytest.raises(OptionError, match=r"training\.trackers can't begin .*no key.*wandb login"):
        WandbTracker(tmp_path, "mine", "", SILENT).write({"epoch": 0})


def test_a_missing_package_is_named_before_anything_is_written(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *more: None if name == "wandb" else real(name, *more),
    )
    recipe = load_recipe("glyphs", flags(training__trackers="wandb"))
    with pytest.raises(PackageError, match=r"needs the package wandb: pip install 'dml\[wandb\]'"):
        Trainer(recipe).run(tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_training_sends_its_log(tmp_path, monkeypatch, eager_training):
    monkeypatch.setenv("WANDB_MODE", "offline")
    options = flags(training__trackers="wandb", training__epochs=1, training__validate_every=0.5)
    folder = train("glyphs", options, tmp_path / "run", evaluate=False)
    log = folder.read_log()
    assert [row["epoch"] for row in log] == [0, 0.5, 1]
    assert sent(folder.path)[0] == log
