"""A study on a few images: its files, resuming, and that the test split is left alone."""

import dataclasses
import importlib.util
import os
import signal
import subprocess
import sys
import time

import keras
import pytest

import dml
from dml._storage.locks import locked
from dml._storage.run_folder import RunFolder
from dml._storage.study_folder import StudyFolder, StudyManifest
from dml.datasets import RecordedItems
from dml.errors import (
    BusyError,
    DataError,
    DmlError,
    MissingDataError,
    OccupiedError,
    OptionError,
    PackageError,
)
from dml.recipe import load_recipe
from dml.runs._splits import unchanged_items
from dml.runs._validation import validation_curve
from dml.runs._validator import Validator
from dml.tuning import Interval, SearchSpace, Tuner, spaces_of
from tests.datasets.layouts import write_image
from tests.reporters import Lines
from tests.runs.running import flags, words

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]

RATES = SearchSpace({"optimizer.learning_rate": Interval(1e-4, 1e-1, log=True)})
TINY = {
    "backbone.name": "conv4",
    "backbone.input_size": 16,
    "backbone.resize_side": 16,
    "backbone.filters": 4,
    "embedding.dim": 8,
    "sampler.name": "m_per_class",
    "sampler.classes_per_batch": 2,
    "sampler.images_per_class": 3,
    "training.epochs": 2,
    "training.stage": "full",
    "training.interpolate": "none",
    "training.select_aspect": False,
    "training.threads": 1,
    "dataset.validation_fraction": 0.4,
    "optimizer.learning_rate": 1e-2,
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Five training classes, and two test classes whose files are no images."""
    root = tmp_path_factory.mktemp("images")
    for i in range(30):
        write_image(root / "train" / f"class {i // 6}" / f"{i}.png", i)
    for i in range(8):
        path = root / "test" / f"other {i // 4}" / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"no image")
    return root


def recipe_of(root, **changes):
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return load_recipe(root, words({**TINY, **changes}))


@pytest.fixture(scope="module")
def tuned(images, tmp_path_factory):
    lines = Lines()
    folder = tmp_path_factory.mktemp("tune") / "study"
    return Tuner(recipe_of(images), RATES, reporter=lines).run(folder, trials=2), lines


def test_the_test_split_is_not_read(tuned):
    """Its files are no images: whatever embedded or measured them would have failed."""
    study, lines = tuned
    assert [trial.state for trial in study.trials] == ["complete"] * 2
    assert "was not read" in lines[-3]


def test_the_study_has_a_run_for_each_trial_a_table_and_the_best_recipe(tuned, images):
    study, lines = tuned
    first, other = study.trials
    assert first.options["optimizer.learning_rate"] == 1e-2 != other.options
    table = (study.path / "trials.tsv").read_text().splitlines()
    assert [row.split("\t")[0] for row in table] == ["trial", "0", "1"]
    assert study.best.score == max(trial.score for trial in study.trials)
    best = load_recipe(study.recipe)
    rate = study.best.options["optimizer.learning_rate"]
    assert best.optimizer.learning_rate == rate and best.dataset.root == str(images)
    assert 0 <= study.low <= study.best.score <= study.high <= 1 and 0 <= study.frozen <= 1
    assert study.recipe.read_text().startswith(f"# trial {study.best.number} of {study.path}")
    assert lines[0].startswith("folder (zero-shot): train 18 images of 3 classes, val 12")
    assert f"study: {study.path}" in lines


def test_the_best_recipe_has_the_trials_score_again(tuned, tmp_path):
    study, _ = tuned
    best = load_recipe(study.recipe, ["--training.unreadable", "skip"])
    run = dml.Trainer(best).run(tmp_path / "run", evaluate=False)
    assert max(row["val_recall_at_1"] for row in run.log()) == study.best.score


def test_a_finished_study_is_read_again_and_goes_on_with_more_trials(tuned):
    study, _ = tuned
    assert Tuner.resume(study.path) == study
    more = Tuner.resume(study.path, trials=3)
    assert more.trials[:2] == study.trials and len(more.trials) == 3
    kept = [trial.number for trial in more.trials if (trial.run / "encoder.keras").exists()]
    assert kept == sorted({0, more.best.number})


def test_encoders_are_read_while_no_other_process_may_replace_them(tuned, monkeypatch):
    read, embedded, folder = [], [], StudyFolder(tuned[0].path)

    def is_locked():
        try:
            with locked(folder.lock, ""):
                return False
        except BusyError:
            return True

    def encoder(run):
        read.append(is_locked())
        return real(run)

    def vectors(validator, encoder):
        embedded.append(is_locked())
        return validated(validator, encoder)

    real, validated = dml.Run.encoder, Validator.vectors
    monkeypatch.setattr(dml.Run, "encoder", encoder)
    monkeypatch.setattr(Validator, "vectors", vectors)
    Tuner.resume(folder.path)
    assert read and all(read) and len(embedded) == len(read) and not any(embedded)


def test_other_processes_go_on_while_one_compares_the_images(tuned, monkeypatch):
    def compared(*arguments):
        with locked(StudyFolder(tuned[0].path).lock, ""):  # nobody holds it
            return unchanged_items(*arguments)

    before = Tuner.resume(tuned[0].path)
    monkeypatch.setattr("dml.tuning.tuner.unchanged_items", compared)
    assert Tuner.resume(tuned[0].path) == before


def test_the_trials_are_reported_before_the_best_is_trained_again(tuned, monkeypatch):
    def fail(*_):
        raise DataError("x", "can't be read")

    best, lines = (
        dataclasses.replace(tuned[0].best, options={"optimizer.learning_rate": 0.02}),
        Lines(),
    )
    monkeypatch.setattr("dml.tuning.tuner.best_trial", lambda *_: best)
    monkeypatch.setattr("dml.tuning.tuner.confirm", fail)
    with pytest.raises(DataError, match="can't be read"):
        Tuner.resume(tuned[0].path, confirm=1, reporter=lines)
    assert lines[-2].startswith("train and test the best recipe: ")


def test_seeds_that_do_not_exist_are_refused_before_the_trials(images, tmp_path):
    tuner = Tuner(recipe_of(images, training__seed=2**32 - 2), RATES)
    with pytest.raises(OptionError, match=r"training\.seed must be in \[0, 4294967295\]"):
        tuner.run(tmp_path / "study", confirm=2)
    assert not (tmp_path / "study").exists()


def test_the_best_is_trained_again_beside_the_recipes_own_options(tuned, monkeypatch):
    lines, trial = Lines(), Tuner.resume(tuned[0].path).best

    def best_is(options):
        best = dataclasses.replace(trial, own=False, options=options)
        monkeypatch.setattr("dml.tuning.tuner.best_trial", lambda *_: best)

    best_is({"optimizer.learning_rate": 0.02})
    study = Tuner.resume(tuned[0].path, confirm=1, reporter=lines)
    found = study.confirmation
    assert len(found.best) == len(found.own) == 1 and found.other_classes
    assert any(
        line.startswith("validation R@1 again with 1 other seed and other") for line in lines
    )
    lines.clear()
    Tuner.resume(study.path, confirm=2, budget=1e-6, reporter=lines)
    assert f"the time is over: `dml tune {study.path} --resume --confirm 2`" in lines.warnings[0]
    best_is({})
    assert Tuner.resume(study.path, confirm=1, reporter=lines).confirmation is None
    assert "the best has the recipe's own options: nothing is left to confirm" in lines


def test_a_budget_that_is_too_short_names_the_way_on(images, tmp_path):
    tuner = Tuner(recipe_of(images), RATES)
    with pytest.raises(DataError, match="no trial was completed: the time was over; `dml tune"):
        tuner.run(tmp_path / "study", budget=1e-6)


def test_all_trials_failed(images, tmp_path):
    tuner = Tuner(recipe_of(images, optimizer__learning_rate=1e30, backbone__filters=2), RATES)
    with pytest.raises(DataError, match="trial 0 failed: the loss is not finite"):
        tuner.run(tmp_path / "study", trials=1)


def test_without_validation_there_is_nothing_to_compare(images, tmp_path):
    tuner = Tuner(recipe_of(images, dataset__validation_fraction=0))
    with pytest.raises(OptionError, match=r"dataset\.validation_fraction is .* raise it"):
        tuner.run(tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_what_can_not_be_trained_is_refused_before_anything_is_written(images, tmp_path):
    tuner = Tuner(recipe_of(images, backbone__weights="no.weights.h5"))
    with pytest.raises(DmlError, match=r"no\.weights\.h5"):
        tuner.run(tmp_path / "study")
    assert not (tmp_path / "study").exists()


def test_optuna_is_an_extra(images, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(PackageError, match=r"pip install 'dml\[tune\]'"):
        Tuner(recipe_of(images))


def test_folders_and_recipes_that_do_not_fit_are_refused(images, tmp_path):
    recipe = recipe_of(images)
    with pytest.raises(OptionError, match="recipe must be a Recipe"):
        Tuner("glyphs")
    with pytest.raises(OptionError, match=r"optimizer\.rate is unknown"):
        Tuner(recipe, SearchSpace({"optimizer.rate": Interval(0, 1)}))
    with pytest.raises(MissingDataError, match="no study to resume"):
        Tuner.resume(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(OccupiedError, match="is not empty"):
        Tuner(recipe, RATES).run(tmp_path)


def test_the_head_stage_comes_first_on_features_that_all_trials_share(tmp_path, monkeypatch):
    keras.utils.set_random_seed(3)
    weights = tmp_path / "conv4.weights.h5"
    load_recipe("glyphs", flags()).backbone.network().save_weights(weights)
    changes = {"backbone__weights": weights, "training__epochs": 1, "head_stage__epochs": 3}
    changes |= {"training__select_aspect": True, "training__refit": True}
    recipe = load_recipe("glyphs", flags(**changes))
    read, real = [], RecordedItems.of
    monkeypatch.setattr(
        RecordedItems, "of", lambda items, *more: read.append(1) or real(items, *more)
    )
    tuner = Tuner(recipe, *spaces_of(recipe, ["rate"]))
    study = tuner.run(tmp_path / "study", trials=4)
    assert tuner.recipe == recipe.with_absolute_paths()
    assert len(read) == 1  # for the aspect and for all trials
    assert [trial.stage for trial in study.trials] == ["head", "head", "full", "full"]
    assert [trial.own for trial in study.trials][:3] == [True, False, True]
    assert (study.path / "features").is_dir()
    assert not list(study.path.glob("trials/*/features"))
    assert not list(study.path.glob("trials/*/refit"))  # they are compared in validation
    best = load_recipe(study.recipe).training
    assert best.refit and not best.select_aspect  # the aspect is chosen once for all trials
    head = study.trials[1]
    assert head.options["training.stage"] == "head"
    again = dml.Trainer(load_recipe(head.run / "recipe.toml")).run(tmp_path / "run", evaluate=False)
    curves = [validation_curve(RunFolder(path)) for path in (head.run, again.path)]
    assert curves[0] == curves[1] and max(curves[0]) == head.score


def begun(images, path):
    """Returns the folder of a study that was stopped before its first trial."""
    with pytest.raises(DataError, match="the time was over"):
        Tuner(recipe_of(images, dataset__test_fraction=0), RATES).run(path, budget=1e-6)
    return StudyFolder(path)


def test_what_a_study_began_with_stays(images, tmp_path):
    for i in range(30):
        write_image(tmp_path / "images" / f"class {i // 6}" / f"{i}.png", i)
    folder = begun(tmp_path / "images", tmp_path / "study")
    text = folder.recipe.read_text()
    folder.recipe.write_text(text.replace("epochs = 2", "epochs = 3"))
    with pytest.raises(DataError, match=r"recipe\.toml: changed since the study began"):
        Tuner.resume(folder.path)
    folder.recipe.write_text(text)
    manifest = folder.manifest.read_text()
    folder.manifest.write_text(manifest.replace('"trials": 20', '"trials": 21'))
    with pytest.raises(DataError, match=r"study\.json: damaged"):
        Tuner.resume(folder.path)
    folder.manifest.write_text(manifest)
    changed = next((tmp_path / "images").glob("*/*.png"))
    write_image(changed, 99)
    for image in (tmp_path / "images").glob("class 4/*"):
        image.unlink()
    with pytest.raises(DataError, match="images were removed or changed"):
        Tuner.resume(folder.path)


def test_python_of_others_runs_only_when_allowed(tmp_path):
    (tmp_path / "evil.py").write_text("raise ValueError('ran')")
    text = f'parts = ["{tmp_path / "evil.py"}"]\n'
    StudyFolder(tmp_path / "study").begin(StudyManifest(text, [RATES.to_json(), None], 3))
    with pytest.raises(OptionError, match="--allow-parts"):
        Tuner.resume(tmp_path / "study")
    with pytest.raises(DataError, match=r"evil\.py: can't be imported: ValueError: ran"):
        Tuner.resume(tmp_path / "study", allow_parts=True)


def command(*words):
    return subprocess.Popen(
        [sys.executable, "-m", "dml", "tune", *map(str, words)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def test_ctrl_c_stops_and_two_processes_finish_the_study(tmp_path):
    path = tmp_path / "study"
    options = flags(training__epochs=8)
    process = command("glyphs", *options, "--search", "rate", "--trials", 3, "--out", path)
    deadline = time.monotonic() + 600
    while not list(path.glob("trials/0000/checkpoints/epoch-*.npz")):
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130 and "Traceback" not in errors, errors
    assert "interrupted; `dml tune STUDY --resume` continues" in errors
    together = [command(path, "--resume") for _ in range(2)]
    printed = [process.communicate(timeout=600) for process in together]
    assert [process.returncode for process in together] == [0, 0], printed
    trials = Tuner.resume(path).trials
    assert [trial.number for trial in trials] == [0, 1, 2]
    assert all(trial.state in ("complete", "pruned") for trial in trials)
