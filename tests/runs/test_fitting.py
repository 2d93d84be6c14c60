"""One stage of a training on arrays: it begins once, continues, and ends."""

import contextlib

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.backbones import Conv4
from dml.encoding import EmbeddingOptions, build_encoder
from dml.losses import ProxyAnchor
from dml.reporting import SILENT, Reporter
from dml.runs._fitting import Stage, fit
from dml.training import Learner
from dml.training._stopwatch import Waiting
from tests.reporters import Lines

pytestmark = pytest.mark.usefixtures("eager_training")

IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")
LABELS = np.arange(8, dtype="int32") // 2


class Batches(keras.utils.PyDataset):
    """Batches of four of the images, which are the same in each epoch."""

    named_errors = contextlib.nullcontext
    waiting = Waiting()

    @property
    def unreadable(self):
        return {"a.jpg": "a.jpg: is empty"}

    def __len__(self):
        return 2

    def __getitem__(self, step):
        return IMAGES[step::2], LABELS[step::2]

    def epoch_rows(self, epoch):
        return np.arange(8).reshape(4, 2).T


def stage_of(path, epochs, scores=None, **changes):
    keras.utils.set_random_seed(0)
    backbone = Conv4(input_size=16, resize_side=16, filters=4)
    learner = Learner(build_encoder(backbone, EmbeddingOptions(dim=4)), ProxyAnchor(), classes=4)
    learner.compile("sgd")
    folder = RunFolder(path)
    path.mkdir(exist_ok=True)
    made = []

    def batches(first_epoch, class_vectors):
        made.append((first_epoch, class_vectors))
        return Batches()

    remaining = iter(scores or [])

    def validate():
        learner.encoder.predict(IMAGES, verbose=0)
        return next(remaining)

    options = {
        "folder": folder,
        "learner": learner,
        "kept": learner.encoder.variables,
        "epochs": epochs,
        "steps": 2,
        "batch_size": 4,
        "labels": LABELS,
        "batches": batches,
        "sampler": "pairs",
        "class_vectors": None,
        "validate": None if scores is None else validate,
        "validate_every": 1.0,
        "patience": 0,
        "tensorboard": folder.tensorboard,
    }
    return Stage(**{**options, **changes}), made


def values(stage):
    return [keras.ops.convert_to_numpy(v) for v in stage.learner.variables]


@pytest.mark.slow
def test_continues_to_the_weights_of_an_uninterrupted_stage(tmp_path):
    whole, made = stage_of(tmp_path / "whole", epochs=3)
    start = [keras.ops.convert_to_numpy(v) for v in whole.kept]
    assert not whole.has_begun
    lines = Lines()
    assert fit(whole, lines).epoch == 3 and made == [(0, None)] and whole.has_begun
    assert "left out of the training: a.jpg: is empty" in lines
    with np.load(whole.folder.checkpoints / "start-0000.npz") as saved:
        for number, expected in enumerate(start):
            np.testing.assert_array_equal(saved[f"v{number}"], expected)
    fit(stage_of(tmp_path / "part", epochs=1)[0], SILENT)
    rest, made = stage_of(tmp_path / "part", epochs=3)
    lines = Lines()
    fit(rest, lines)
    assert made == [(1, None)] and "resuming after epoch 1" in lines
    for found, expected in zip(values(rest), values(whole), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_a_finished_stage_reads_no_batches(tmp_path):
    fit(stage_of(tmp_path / "run", epochs=1)[0], SILENT)
    again, made = stage_of(tmp_path / "run", epochs=1)
    assert fit(again, SILENT).epoch == 1 and made == []


def test_the_start_is_validated_and_an_old_log_of_it_removed(tmp_path):
    stage, _ = stage_of(tmp_path / "run", epochs=1, scores=[0.5, 0.25])
    stage.folder.append_log({"epoch": 1, "loss": 9.0})  # of a process killed before a checkpoint
    state = fit(stage, SILENT)
    assert (state.best_epoch, state.best_score) == (0, 0.5)
    assert [(row["epoch"], row["val_recall_at_1"]) for row in stage.folder.read_log()] == [
        (0, pytest.approx(0.5)),
        (1, pytest.approx(0.25)),
    ]


@pytest.mark.slow
def test_validations_within_epochs_change_no_weights(tmp_path, monkeypatch):
    monkeypatch.delattr(keras.Model, "run_eagerly")  # compiled, as trainings are
    plain, _ = stage_of(tmp_path / "plain", epochs=2)
    fit(plain, SILENT)
    scores = [0.1, 0.2, 0.5, 0.4, 0.3]
    often, _ = stage_of(tmp_path / "often", epochs=2, scores=scores, validate_every=0.5)
    state = fit(often, SILENT)
    assert (state.best_epoch, state.best_score, state.since_best) == (1, 0.5, 2)
    for found, expected in zip(values(often), values(plain), strict=True):
        np.testing.assert_array_equal(found, expected)


class Killed(Reporter):
    """Ends the process at a line that begins with a text."""

    def __init__(self, text):
        self.text = text

    def info(self, text):
        if text.startswith(self.text):
            raise KeyboardInterrupt


@pytest.mark.slow
@pytest.mark.parametrize("killed", ["epoch 0.5/", "epoch   1/", "epoch 1.5/", "stopped early"])
def test_a_stage_that_stops_early_is_resumed_to_the_same_end(tmp_path, killed):
    scores = [0.1, 0.2, 0.5, 0.4]  # before it, and after each half epoch; never a fourth time
    options = {"validate_every": 0.5, "patience": 1}
    whole, _ = stage_of(tmp_path / "whole", 4, scores, **options)
    lines = Lines()
    state = fit(whole, lines)
    assert state.epoch == 1.5 and state.best_epoch == 1
    assert lines[-2].startswith("stopped early after epoch 1.5: 1 validation without")
    log = [(row["epoch"], row["val_recall_at_1"]) for row in whole.folder.read_log()]
    assert log == list(zip((0, 0.5, 1, 1.5), scores, strict=True))

    with pytest.raises(KeyboardInterrupt):
        fit(stage_of(tmp_path / "part", 4, scores, **options)[0], Killed(killed))
    done = {"epoch 0.5/": 0, "epoch   1/": 1}.get(killed, 1.5)  # at the last checkpoint
    again, made = stage_of(tmp_path / "part", 4, scores[int(2 * done + (done > 0)) :], **options)
    lines = Lines()
    found = fit(again, lines)
    assert found == state and bool(made) == (done < 1.5)
    assert any(line.startswith("stopped early after epoch 1.5") for line in lines)
    assert [(r["epoch"], r["val_recall_at_1"]) for r in again.folder.read_log()] == log
    for one, expected in zip(values(again), values(whole), strict=True):
        np.testing.assert_array_equal(one, expected)
