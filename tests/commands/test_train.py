"""`dml train` as it is typed: its folder, Ctrl-C, full disks."""

import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from dml.cli import main
from dml.errors import OptionError
from tests.runs.running import flags


def heeds_ctrl_c():
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it


def command(path, preexec=heeds_ctrl_c, **changes):
    return subprocess.Popen(
        [sys.executable, "-m", "dml", "train", "glyphs", *flags(**changes), "--out", str(path)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=preexec,
    )


def message(process):
    _, errors = process.communicate(timeout=600)
    assert "Traceback" not in errors, errors
    return [line for line in errors.splitlines() if line.startswith("dml: ")]


@pytest.mark.slow
def test_ctrl_c_exits_with_130_and_keeps_the_checkpoint(tmp_path):
    process = command(tmp_path / "run", training__epochs=500)
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("run/checkpoints/epoch-*.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    assert "interrupted" in message(process)[0]
    assert process.returncode == 130
    assert list(tmp_path.glob("run/checkpoints/epoch-*.npz"))


@pytest.mark.slow
def test_a_full_disk_is_one_line_and_leaves_whole_files_only(tmp_path):
    import resource

    def small_disk():  # no file beyond 60 kB: the recipe fits, a checkpoint does not
        resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))

    process = command(tmp_path / "run", preexec=small_disk, backbone__filters=32)
    lines = message(process)
    assert process.returncode == 2 and len(lines) == 1 and "File too large" in lines[0]
    assert (tmp_path / "run" / "recipe.toml").exists()
    assert not list(tmp_path.rglob(".writing-*"))


def test_an_output_folder_that_can_not_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert main(["train", "glyphs", *flags(), "--out", str(tmp_path / "file" / "run")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("dml: ") and "file" in line


def test_resume_takes_no_other_options(capsys):
    assert main(["train", "runs/x", "--resume", "--loss.name", "triplet"]) == 2
    assert "--resume uses the run's own recipe: leave out --loss.name" in (capsys.readouterr().err)
    for out in ("y", ""):
        assert main(["train", "runs/x", "--resume", "--out", out]) == 2
        assert "leave out --out" in capsys.readouterr().err
    assert main(["train", "runs/x", "--resume"]) == 2
    assert "runs/x: there is no run to resume" in capsys.readouterr().err


def test_a_budget_is_planned_and_the_time_reported(monkeypatch, capsys):
    called = []

    class Plan:
        recipe = "shorter"

        def times(self):
            return iter(["a line"])

        def kept(self, seconds):
            called.append(seconds >= 0)
            return "took 1 s"

    class Trainer:
        def __init__(self, recipe, reporter):
            self.recipe = recipe

        def plan(self, budget):
            called.append(budget)
            return Plan()

        def run(self, out, name):
            called.append((self.recipe, out, name))

    monkeypatch.setattr("dml.runs.Trainer", Trainer)
    assert main(["train", "glyphs", "--budget", "1.5h"]) == 0
    assert called == [5400, ("shorter", None, "glyphs"), True]
    assert capsys.readouterr().out.splitlines() == ["a line", "took 1 s"]


@pytest.mark.parametrize(
    "more", [("--budget", "20m"), ("--engine", "ray", "--training.devices", "all")]
)
def test_a_folder_that_does_not_fit_is_refused_before_anything_is_timed(
    tmp_path, monkeypatch, capsys, more
):
    def images(*_):
        raise AssertionError("the images were listed")

    monkeypatch.setattr("dml.datasets.Folder.items", images)
    monkeypatch.setattr("dml._processes.require_jax", lambda *_: None)
    for number in range(2):
        (tmp_path / f"class {number}").mkdir()
        (tmp_path / f"class {number}" / "a.jpg").touch()
    words = ["train", str(tmp_path), *more]
    assert main([*words, "--out", str(tmp_path)]) == 2
    assert "is a folder of the images: choose another --out" in capsys.readouterr().err
    assert main([*words, "--out", ""]) == 2
    assert "must name the folder of a run. The name is empty" in capsys.readouterr().err


@pytest.mark.parametrize("budget, seconds", [((), None), (("--budget", "2m"), 120)])
def test_a_dry_run_prints_the_plan_and_trains_nothing(monkeypatch, capsys, budget, seconds):
    class Trainer:
        def __init__(self, recipe, reporter):
            pass

        def plan(self, allowed):
            assert allowed == seconds
            return SimpleNamespace(lines=lambda: iter(["what it is", "how long it takes"]))

    monkeypatch.setattr("dml.runs.Trainer", Trainer)
    assert main(["train", "glyphs", "--dry-run", *budget]) == 0
    assert capsys.readouterr().out.splitlines() == ["what it is", "how long it takes"]


def test_a_budget_that_is_too_short_is_named_as_it_is_typed(monkeypatch, capsys):
    class Trainer:
        def __init__(self, recipe, reporter):
            pass

        def plan(self, budget):
            raise OptionError("budget", "is too short")

    monkeypatch.setattr("dml.runs.Trainer", Trainer)
    assert main(["train", "glyphs", "--budget", "1s"]) == 2
    assert capsys.readouterr().err == "dml: --budget is too short\n"


@pytest.mark.parametrize("option", [("--budget", "5m"), ("--dry-run",)])
def test_a_resumed_run_keeps_the_epochs_of_its_budget(capsys, option):
    assert main(["train", "runs/mine", "--resume", *option]) == 2
    assert f"--resume uses the run's own recipe: leave out {option[0]}" in capsys.readouterr().err
