"""`dml train --resume`; a run's files are undamaged, its own, and written by one process."""

import json
import shutil

import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.runs import Run
from dml.runs._comparison import read_scored_runs
from tests.commands.test_train import command, message
from tests.datasets.layouts import write_image
from tests.runs.running import (
    SMALL,
    InterruptAt,
    Lines,
    encoder_weights,
    evaluate,
    flags,
    losses,
    rebuild,
    resume,
    train,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return train("glyphs", flags(), out=tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture
def finished(whole, tmp_path):
    """A copy of a finished run."""
    return RunFolder(shutil.copytree(whole.path, tmp_path / "finished"))


@pytest.fixture(scope="module")
def second_epoch(tmp_path_factory):
    path = tmp_path_factory.mktemp("runs") / "run"
    with pytest.raises(KeyboardInterrupt):
        train("glyphs", flags(), out=path, reporter=InterruptAt("epoch   2/"))
    return path


@pytest.fixture
def stopped(second_epoch, tmp_path):
    """A copy of a run that was stopped after two of three epochs."""
    return RunFolder(shutil.copytree(second_epoch, tmp_path / "stopped"))


def assert_same(folder, whole):
    for found, expected in zip(encoder_weights(folder), encoder_weights(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert losses(folder) == losses(whole)


def edit(file, old, new):
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def test_what_a_kill_has_left_out_or_half_written_is_made_up_for(stopped, whole):
    stopped.frozen.unlink()  # killed before it was written
    litter = [folder / ".writing-x" for folder in (stopped.path, stopped.checkpoints)]
    for file in litter:
        file.touch()
    lines = stopped.log.read_text().splitlines(keepends=True)
    stopped.log.write_text(lines[1][:30] + lines[1] + lines[2] + lines[2][:50])
    said = Lines()
    resume(stopped.path, said)
    assert any("log.jsonl: the line of epoch 1 can't be read" in line for line in said)
    assert not any(file.exists() for file in litter)
    for found, expected in zip(encoder_weights(stopped), encoder_weights(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [row["epoch"] for row in stopped.read_log()] == [2, 3]
    assert stopped.read_json(stopped.frozen) == whole.read_json(whole.frozen)
    frozen = whole.read_json(whole.frozen)["metrics"]
    assert stopped.read_json(stopped.metrics)["frozen"] == frozen


def test_continues_from_the_checkpoint_before_a_damaged_one(stopped, whole):
    file = stopped.checkpoints / "epoch-0002.npz"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    said = Lines()
    assert list(stopped.checkpoints.glob("best-*.npz"))
    resume(stopped.path, said, evaluate=False)
    assert any("epoch-0002.npz: the checkpoint can't be read" in line for line in said)
    assert "resuming after epoch 1" in said
    assert_same(stopped, whole)


def test_a_run_killed_before_it_wrote_its_manifest_begins(stopped, whole):
    stopped.manifest.unlink()
    shutil.rmtree(stopped.checkpoints)
    resume(stopped.path, evaluate=False)
    assert_same(stopped, whole)


def test_a_damaged_encoder_is_refused_by_all_and_resume_writes_it_again(finished, whole):
    before = encoder_weights(whole)
    data = bytearray(finished.encoder.read_bytes())
    data[len(data) // 2] ^= 1
    finished.encoder.write_bytes(data)
    for use in (evaluate, lambda path: Run(path).export("keras")):
        with pytest.raises(ValueError, match=r"encoder\.keras: damaged.*--resume` writes it again"):
            use(finished.path)
    resume(finished.path, evaluate=False)
    for found, expected in zip(encoder_weights(finished), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("name", ["vectors.npy", "items.parquet", "metrics.json"])
def test_a_damaged_evaluation_is_refused(finished, whole, name):
    file = finished.evaluation("glyphs") / name
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ValueError, match=f"{name}: damaged.*evaluate the run again"):
        rebuild(finished.path)
    if name != "metrics.json":
        with pytest.raises(ValueError, match=f"{name}: damaged"):
            read_scored_runs([whole.path, finished.path])


@pytest.mark.parametrize("text", ["{", "[]", '{"schema": 1}', "[" * 100_000, '"é"'])
def test_a_damaged_manifest_is_named(finished, text):
    finished.manifest.write_text(text, encoding="latin-1")
    for use in (resume, evaluate):
        with pytest.raises(ValueError, match=r"manifest\.json: .*; remove it, and `dml train"):
            use(finished.path)


def test_a_run_without_a_manifest_continues_with_its_recipe(stopped, whole):
    stopped.manifest.unlink()
    said = Lines()
    resume(stopped.path, said, evaluate=False)
    assert any(
        "manifest.json is missing: continuing with the current recipe.toml" in line for line in said
    )
    assert_same(stopped, whole)


def test_an_edited_recipe_is_refused_and_what_decides_nothing_may_change(stopped, whole):
    edit(stopped.recipe, "margin = 0.1", "margin = 0.2")
    stopped.encoder.touch()
    for use in (resume, evaluate, lambda path: Run(path).export("keras")):
        with pytest.raises(ValueError, match=r"loss\.margin was 0\.1 when .* and is 0\.2 now"):
            use(stopped.path)
    edit(stopped.recipe, "margin = 0.2", "margin = 1e-1  # as before")
    edit(stopped.recipe, "clustering_seeds = 2", "clustering_seeds = 0")
    edit(stopped.recipe, "[training]\n", "[training]\nthreads = 1\n")
    resume(stopped.path)
    assert_same(stopped, whole)
    assert "NMI" not in stopped.read_json(stopped.metrics)["metrics"]


def test_a_new_run_never_continues_from_files_of_an_old_one(stopped):
    stopped.recipe.unlink()
    with pytest.raises(ValueError, match=r"holds manifest\.json of an earlier run"):
        train("glyphs", flags(), out=stopped.path)
    stopped.manifest.unlink()
    stopped.frozen.unlink()
    stopped.log.unlink()
    with pytest.raises(ValueError, match="holds checkpoints of an earlier run"):
        train("glyphs", flags(), out=stopped.path)


def test_a_run_that_another_process_writes_is_left_alone(finished, tmp_path):
    with finished.writing():
        for use in (resume, evaluate, rebuild):
            with pytest.raises(ValueError, match=r"finished: process .* is writing it"):
                use(finished.path)
    new = RunFolder(tmp_path / "new")
    with new.writing(), pytest.raises(ValueError, match=r"new: process .* is writing it"):
        train("glyphs", flags(), out=new.path)


def test_paths_of_a_run_hold_in_any_folder(tmp_path, monkeypatch):
    for i in range(24):
        write_image(tmp_path / "here" / "photos" / f"class {i // 4}" / f"{i}.jpg", i)
    (tmp_path / "elsewhere").mkdir()
    options = {
        "backbone.name": "conv4",
        **{k: v for k, v in SMALL.items() if not k.startswith(("dataset", "sampler"))},
        "backbone.weights": "none",
        "dataset.validation_fraction": 0.4,
        "sampler.batch_size": 4,
        "training.epochs": 2,
    }
    words = [word for k, v in options.items() for word in (f"--{k}", str(v))]
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(KeyboardInterrupt):
        train("photos", words, out="run", reporter=InterruptAt("epoch   1/"))
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = resume(tmp_path / "here" / "run")
    assert folder.evaluation("folder").is_dir()
    rebuild(folder.path)
    assert str(tmp_path / "here" / "photos") in folder.recipe.read_text()


def test_the_error_of_the_second_process_names_the_first(tmp_path):
    process = command(tmp_path / "run", training__epochs=500)
    try:
        while not (line := process.stdout.readline()).startswith("epoch "):
            assert line, message(process)
        with pytest.raises(ValueError, match=f"run: process {process.pid} on .* is writing it"):
            resume(tmp_path / "run")
    finally:
        process.kill()
        process.communicate()
    folder = RunFolder(tmp_path / "run")
    with folder.writing():  # the death of the first has released it
        assert json.loads(folder.manifest.read_text())["files"]
