"""Checkpoints: every variable comes back, and damage is noticed."""

import zipfile

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.reporting import SILENT
from dml.training._checkpoint import Checkpoint, TrainingState, numbered
from tests.reporters import Lines
from tests.storage.durability import Journal
from tests.training.recording import IMAGES, LABELS, kept, learner


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


def values(model):
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v.value) for v in variables]


def test_a_checkpoint_brings_back_every_variable(folder):
    model = learner()
    model.fit(IMAGES, LABELS, verbose=0)
    saved = values(model)
    Checkpoint(folder).save(model, TrainingState(1))
    model.fit(IMAGES, LABELS, epochs=2, verbose=0)
    assert any((a != b).any() for a, b in zip(values(model), saved, strict=True))
    for restored in (model, learner()):
        assert Checkpoint(folder).load(restored, kept(restored), SILENT) == TrainingState(1)
        for found, expected in zip(values(restored), saved, strict=True):
            np.testing.assert_array_equal(found, expected)


def test_checkpoints_are_written_durably(folder, monkeypatch):
    journal = Journal(monkeypatch)
    checkpoint, model = Checkpoint(folder), learner()
    checkpoint.save_best(model.encoder.variables, 1)
    checkpoint.save(model, TrainingState(1))
    for name in ("best-0001.npz", "epoch-0001.npz"):
        journal.require_durable(folder.checkpoints / name)


def test_the_last_two_checkpoints_are_kept(folder):
    model, checkpoint = learner(), Checkpoint(folder)
    for epoch in (1, 2, 9_999, 10_000):
        checkpoint.save_best(model.encoder.variables, epoch)
        checkpoint.save(model, TrainingState(epoch))
    names = sorted(f.name for f in folder.checkpoints.iterdir())
    assert names == ["best-10000.npz", "best-9999.npz", "epoch-10000.npz", "epoch-9999.npz"]
    assert checkpoint.load(model, kept(model), SILENT).epoch == 10_000


def test_the_best_of_both_checkpoints_is_kept(folder):
    model, checkpoint = learner(), Checkpoint(folder)
    checkpoint.save_best(kept(model), 1)
    checkpoint.save(model, TrainingState(1, best_epoch=1, best_score=0.1))
    for epoch in (1.25, 1.5, 1.75):
        checkpoint.save_best(kept(model), epoch)
    assert (
        checkpoint.load(model, kept(model), SILENT).best_epoch == 1
    )  # was killed, and begins again
    assert [f.name for f in folder.checkpoints.glob("best-*")] == ["best-0001.npz"]
    for epoch in (1.25, 1.5, 1.75):
        checkpoint.save_best(kept(model), epoch)
    checkpoint.save(model, TrainingState(2, best_epoch=1.75, best_score=0.4))
    names = sorted(f.name for f in folder.checkpoints.glob("best-*"))
    assert names == ["best-0001.7500.npz", "best-0001.npz"]
    damage(folder.checkpoints / "epoch-0002.npz", 0.5)
    assert checkpoint.load(model, kept(model), SILENT).best_epoch == 1
    checkpoint.save(model, TrainingState(1.25, best_epoch=1, best_score=0.1, since_best=1))
    assert checkpoint.load(model, kept(model), SILENT).epoch == 1.25


def test_the_best_of_an_epoch_that_is_trained_again_is_forgotten(folder):
    model, checkpoint = learner(), Checkpoint(folder)
    checkpoint.save_best(kept(model), 1)
    checkpoint.save(model, TrainingState(1, best_epoch=1, best_score=0.5))
    checkpoint.save_best(kept(model), 2)  # and it was killed before it saved the state
    checkpoint.load(model, kept(model), SILENT)
    assert [file.name for file in folder.checkpoints.glob("best-*")] == ["best-0001.npz"]


def test_a_checkpoint_of_another_recipe_is_refused(folder):
    Checkpoint(folder).save(learner(), TrainingState(1))
    other = learner(dim=5)
    with pytest.raises(ValueError, match="belongs to another recipe"):
        Checkpoint(folder).load(other, kept(other), SILENT)


def damage(path, keep):
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])


@pytest.mark.slow
@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_the_checkpoint_before_a_damaged_one_is_taken(folder, keep):
    model, lines = learner(), Lines()
    Checkpoint(folder).save(model, TrainingState(1))
    first = values(model)
    model.fit(IMAGES, LABELS, verbose=0)
    Checkpoint(folder).save_best(model.encoder.variables, 2)
    Checkpoint(folder).save(model, TrainingState(2, best_epoch=2, best_score=0.5))
    damage(folder.checkpoints / "epoch-0002.npz", keep)
    assert Checkpoint(folder).load(model, kept(model), lines) == TrainingState(1)
    assert len(lines) == 1 and "epoch-0002.npz: the checkpoint can't be read" in lines[0]
    for found, expected in zip(values(model), first, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not (folder.checkpoints / "best-0002.npz").exists()  # it will be trained again
    damage(folder.checkpoints / "epoch-0001.npz", keep)
    with pytest.raises(ValueError, match="no checkpoint can be read"):
        Checkpoint(folder).load(model, kept(model), lines)


def test_a_header_that_claims_terabytes_allocates_nothing(folder):
    path = folder.checkpoints / "epoch-0001.npz"
    path.parent.mkdir()
    header = np.lib.format.magic(1, 0) + b"\x76\x00"
    header += b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999,), }".ljust(118)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("v0.npy", header)
        file.writestr("state.npy", header)
    with pytest.raises(ValueError, match="no checkpoint can be read"):
        Checkpoint(folder).load(learner(), [], SILENT)


def test_objects_in_a_checkpoint_are_not_unpickled(folder):
    path = folder.checkpoints / "epoch-0001.npz"
    path.parent.mkdir()
    np.savez(path, v0=np.array([print], dtype=object), state=np.array('{"epoch": 1}'))
    lines = Lines()
    with pytest.raises(ValueError, match="no checkpoint can be read"):
        Checkpoint(folder).load(learner(), [], lines)
    assert "allow_pickle=False" in lines[0]


@pytest.mark.parametrize("keep", [0, 0.5])
def test_damage_to_the_best_epoch_is_found_before_the_training_continues(folder, keep):
    model, lines = learner(), Lines()
    Checkpoint(folder).save_best(model.encoder.variables, 1)
    Checkpoint(folder).save(model, TrainingState(2, best_epoch=1, best_score=0.5))
    best = folder.checkpoints / "best-0001.npz"
    damage(best, keep)
    with pytest.raises(ValueError, match=r"best-0001\.npz: .* It holds epoch 1, the best so far"):
        Checkpoint(folder).load(model, kept(model), lines)
    best.unlink()  # as the message says
    assert Checkpoint(folder).load(model, kept(model), lines) == TrainingState(2)
    assert "epoch 1 was the best and is lost" in lines[0]


def test_the_start_of_a_stage_is_kept(folder):
    model, checkpoint = learner(), Checkpoint(folder)
    before = [keras.ops.convert_to_numpy(v) for v in kept(model)]
    checkpoint.save_start(kept(model))
    model.fit(IMAGES, LABELS, verbose=0)
    for found, expected in zip(checkpoint.read_start(kept(model)), before, strict=True):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    "epoch, name",
    [
        (0, "0000"),
        (4, "0004"),
        (4.0, "0004"),
        (3.25, "0003.2500"),
        (0.3333, "0000.3333"),
        (10_000, "10000"),
    ],
)
def test_an_epoch_has_one_name(epoch, name):
    assert numbered(epoch) == name
