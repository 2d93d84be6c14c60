"""From a folder to a search page: every step once, whatever interrupts it in between."""

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from dml._durations import seconds_of
from dml._storage.run_folder import RunFolder
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import BusyError, DataError, OccupiedError, OptionError
from dml.index import open_index
from dml.reporting import Reporter
from dml.runs import Run, Workflow
from dml.runs._workflow import Steps, export
from tests.datasets.layouts import write_image
from tests.runs.running import InterruptAt, Lines, encoder_weights, flags, train

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]

SMALL = [
    *("--backbone.name", "conv4", "--backbone.filters", "4"),
    *("--backbone.input_size", "16", "--backbone.resize_side", "16", "--embedding.dim", "8"),
    *("--sampler.batch_size", "8", "--training.epochs", "2"),
    *("--training.stage", "full", "--training.interpolate", "none"),
    *("--evaluation.clustering_seeds", "0"),
]


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("data") / "photos"
    for number in range(40):
        write_image(root / f"class {number // 4}" / f"{number}.jpg", number, side=24)
    (root / "class 1" / "broken.jpg").write_bytes(b"no image")
    return root


@pytest.fixture(scope="module")
def finished(photos, tmp_path_factory, eager_training):
    """The folder of a finished workflow, and what it said."""
    said, out = Lines(), tmp_path_factory.mktemp("runs") / "photos"
    Workflow(photos, out, flags=SMALL, reporter=said).run()
    return RunFolder(out), said


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of the folder of a finished workflow."""
    return RunFolder(shutil.copytree(finished[0].path, tmp_path / "photos"))


def written(folder):
    """Returns when each file was written, except the page."""
    files = [file for file in folder.path.rglob("*") if file.is_file()]
    return {f: f.stat().st_mtime_ns for f in files if f.name not in ("overview.html", ".lock")}


def test_goes_from_a_folder_to_a_page_and_says_what_it_does(finished, photos):
    folder, said = finished
    assert said[0].startswith("photos: 41 images of 10 classes, 24 pixels")
    assert said[3].startswith("unreadable images: 1 (") and "broken.jpg" in said[3]
    assert any(line.startswith("plan for ") for line in said)
    assert said[-3].startswith("took ") and ", expected " in said[-3]
    assert said[-2:] == [f"page: {folder.overview}", f"search: dml serve {folder.index}"]
    assert not said.warnings
    assert len(open_index(folder.index)) == 40  # of all splits, except the broken one
    steps = Steps.read(folder.steps)
    assert steps.source == str(photos) and set(steps.took) == {"training", "export", "index"}
    page = folder.overview.read_text()
    assert all(text in page for text in ("report.html", "dml serve", "Frozen", steps.data[1]))


def test_nothing_is_done_twice(copied, photos):
    before, said = written(copied), Lines()
    run = Workflow(photos, copied.path, flags=SMALL, reporter=said).run()
    assert written(copied) == before
    assert run.evaluation().metrics and not said.warnings
    assert len(said) == 2 and said[-1].startswith("search: ")


def test_continues_where_it_was_interrupted(finished, photos, tmp_path):
    """Ctrl-C in each step in turn; the result is that of one go."""
    out = tmp_path / "photos"

    def stop_at(text):
        with pytest.raises(KeyboardInterrupt):
            Workflow(photos, out, flags=SMALL, reporter=InterruptAt(text)).run()
        return RunFolder(out)

    assert not stop_at("plan for").path.exists()
    assert stop_at("epoch   1/").checkpoints.exists()
    folder = stop_at("trained in")
    assert folder.encoder.exists() and not folder.metrics.exists()
    exported = next(line for line in finished[1] if "images through both encoders" in line)
    assert stop_at(exported[:20]).metrics.exists()
    assert not (out / "bundle").exists()
    assert not stop_at(f"{out / 'index'}: ").overview.exists()
    bundle = written(RunFolder(out / "bundle"))
    Workflow(photos, out, flags=SMALL).run()
    assert folder.overview.exists() and written(RunFolder(out / "bundle")) == bundle
    for found, expected in zip(encoder_weights(folder), encoder_weights(finished[0]), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_training_is_that_of_the_recipe(finished, photos, tmp_path):
    """Timing batches before the training changes nothing in it."""
    lenient = ["--training.unreadable", "skip"]
    plain = train(photos, [*SMALL, *lenient], tmp_path / "plain")
    for found, expected in zip(encoder_weights(finished[0]), encoder_weights(plain), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_report_that_a_kill_has_left_out_is_written(copied, photos):
    copied.report.unlink()
    Workflow(photos, copied.path, flags=SMALL).run()
    assert copied.report.exists()


def test_a_lost_encoder_is_restored(copied, photos):
    before = encoder_weights(copied)
    copied.encoder.unlink()
    with pytest.raises(
        DataError, match=r"encoder\.keras is missing\. `dml train .* --resume` cont"
    ):
        Run(copied.path)
    Workflow(photos, copied.path, flags=SMALL).run()
    for found, expected in zip(encoder_weights(copied), before, strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_run_on_another_backend_is_exported_by_tensorflow(copied, monkeypatch):
    shutil.rmtree(copied.path / "bundle")
    run = Run(copied.path)
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    export(run)
    assert OnnxEncoder(copied.path / "bundle").dimension == 8


def test_a_folder_that_has_changed_is_named(copied, photos):
    new, said = write_image(photos / "class 3" / "new.jpg", 77), Lines()
    try:
        Workflow(photos, copied.path, flags=SMALL, reporter=said).run()
    finally:
        new.unlink()
    assert len(said.warnings) == 1
    assert "1 image of 1 class was added (class 3/new.jpg)" in said.warnings[0]


def test_another_request_for_the_same_folder_is_refused(copied, photos, tmp_path):
    for change in ({"budget": 36000.0}, {"flags": [*SMALL, "--training.seed", "1"]}):
        with pytest.raises(OptionError, match=r"--out .* was begun by `dml run .*photos --out "):
            Workflow(photos, copied.path, **{"flags": SMALL, **change}).run()
    other = shutil.copytree(photos, tmp_path / "others")
    with pytest.raises(OptionError, match=r"--out .* holds a run on photos: choose another"):
        Workflow(other, copied.path, flags=SMALL).run()


@pytest.mark.parametrize("budget", [300 * 3600.0, 1234567.5, 0.00001, 20])
def test_the_command_of_a_request_asks_for_it_again(budget):
    steps = Steps("my photos", budget, ("--training.seed", "1"))
    words = shlex.split(steps.command(Path("runs/a b")))
    assert words[:5] == ["dml", "run", "my photos", "--out", "runs/a b"]
    assert words[5] == "--budget" and words[7:] == ["--training.seed", "1"]
    assert seconds_of(words[6]) == budget
    assert "--budget" not in Steps("my photos").command(Path("runs/a"))


def test_a_run_of_another_command_keeps_its_options(copied, photos):
    copied.steps.unlink()
    for change in ({"budget": 36000.0}, {"flags": [*SMALL, "--training.seed", "1"]}):
        with pytest.raises(OptionError, match="holds a run of `dml train`, whose options can't be"):
            Workflow(photos, copied.path, **{"flags": SMALL, **change}).run()


def test_python_files_of_a_run_of_others_are_not_run(copied, photos, tmp_path):
    file = tmp_path / "theirs.py"
    file.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    copied.recipe.write_text(f"parts = ['{file}']\n" + copied.recipe.read_text())
    with pytest.raises(
        OptionError, match=r"--out .* Python files of its own, .*theirs\.py: choose"
    ):
        Workflow(photos, copied.path, flags=SMALL).run()
    assert not (tmp_path / "ran").exists()


def test_a_run_of_another_command_is_completed(copied, photos):
    for file in (copied.steps, copied.overview):
        file.unlink()
    shutil.rmtree(copied.index)
    Workflow(photos, copied.path, flags=SMALL).run()
    assert copied.index.exists() and "Frozen" in copied.overview.read_text()


def test_damaged_steps_are_named(copied, photos):
    copied.steps.write_text(copied.steps.read_text().replace("0", "1"))
    with pytest.raises(DataError, match=r"steps\.json: damaged.*remove it"):
        Workflow(photos, copied.path, flags=SMALL).run()


def test_a_plan_writes_nothing(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = Lines()
    plan = Workflow(photos, budget=36000.0, flags=SMALL, reporter=said).plan()
    assert [stage.name for stage in plan.stages][-2:] == ["export", "index"]
    assert said[5].startswith("validation has 2 of 8 training classes")
    assert list(plan.lines()) == said[6:]
    assert not list(tmp_path.iterdir())


def test_refused_before_the_long_work(photos, tmp_path):
    with pytest.raises(OptionError, match="folder must name the folder of a run"):
        Workflow(photos, "", flags=SMALL)
    for budget, text in ((0.0, "budget must be positive"), (5.0, "^budget is too short: ")):
        with pytest.raises(OptionError, match=text):
            Workflow(photos, tmp_path / "out", budget, SMALL).run()
    with pytest.raises(DataError, match="no test images"):
        untested = [*SMALL, "--dataset.test_fraction", "0"]
        Workflow(photos, tmp_path / "out", flags=untested).run()
    assert not (tmp_path / "out").exists()
    with pytest.raises(OptionError, match="budget must be a number; got '5m'"):
        Workflow(photos, tmp_path / "out", "5m", SMALL)
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        Workflow(photos, tmp_path / "file" / "out", flags=SMALL).run()
    (tmp_path / "mine" / "bundle").mkdir(parents=True)
    with pytest.raises(OccupiedError, match="mine/bundle: is there already: choose another --out"):
        Workflow(photos, tmp_path / "mine", flags=SMALL).run()


def test_a_run_that_another_process_has_begun_meanwhile_is_left_alone(photos, tmp_path):
    class Another(Reporter):
        def info(self, text):
            if text.startswith("plan for "):
                (tmp_path / "out").mkdir(exist_ok=True)
                (tmp_path / "out" / "recipe.toml").touch()

    with pytest.raises(BusyError, match="out: another process has begun the run meanwhile"):
        Workflow(photos, tmp_path / "out", flags=SMALL, reporter=Another()).run()
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["recipe.toml"]


def test_a_killed_process_leaves_what_the_next_one_continues(tmp_path):
    command = [sys.executable, "-m", "dml", "run", "glyphs", "--out", str(tmp_path / "run")]
    options = flags(training__epochs=15)
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 600
    while not list(tmp_path.glob("run/checkpoints/epoch-*.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    said = Lines()
    Workflow("glyphs", tmp_path / "run", flags=options, reporter=said).run()
    assert any(line.startswith("resuming after epoch ") for line in said)
    assert Run(tmp_path / "run").evaluation().metrics
    assert Steps.read(RunFolder(tmp_path / "run").steps).took["training"] == 0
