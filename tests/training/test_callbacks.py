"""Callbacks around epochs: checkpoints, log, the best epoch, alarms."""

import zipfile

import keras
import numpy as np
import pytest

from dml._storage.run_folder import RunFolder
from dml.backbones import Conv4
from dml.encoding.encoder import EmbeddingOptions, build_encoder
from dml.losses import ProxyAnchor
from dml.reporting import SILENT, TrainingProgress
from dml.samplers import Coverage
from dml.training._callbacks import (
    Checkpoint,
    ProgressBars,
    RunRecorder,
    StopAtNan,
    TensorBoardScalars,
    TrainingState,
    collapsing,
    epoch_line,
)
from dml.training._stopwatch import Stopwatch
from dml.training.learner import Learner
from tests.reporters import Lines
from tests.storage.durability import Journal

LOGS = {
    "loss": 1.5,
    "positive_similarity": 0.8,
    "negative_similarity": 0.1,
    "effective_rank": 12.0,
}
IMAGES = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), dtype="uint8")
LABELS = np.arange(8) % 4


def learner(dim=4):
    encoder = build_encoder(
        Conv4(input_size=16, resize_side=16, filters=4), EmbeddingOptions(dim=dim)
    )
    learner = Learner(encoder, ProxyAnchor(), classes=4)
    learner.compile(run_eagerly=True)
    return learner


def kept(model):
    return model.encoder.variables


def values(model):
    model.optimizer.build(model.trainable_variables)
    variables = [*model.variables, *model.optimizer.variables]
    return [keras.ops.convert_to_numpy(v.value) for v in variables]


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


class Clock:
    """Stands still until it is set."""

    now = 0.0

    def __call__(self):
        return self.now


def recorder(folder, scores=None, model=None, coverage=None, state=None, **changes):
    """Returns a recorder whose validations give these scores, and the lines that it reports."""
    lines, remaining = Lines(), iter(scores or [])
    validate = (lambda: next(remaining)) if scores else None
    model = model or learner()
    options = {
        "validate_every": 1.0,
        "patience": 0,
        "epochs": 9,
        "steps": 4,
        "stopwatch": Stopwatch(batch_size=30, clock=Clock()),
        "progress": TrainingProgress(),
        **changes,
    }
    made = RunRecorder(
        folder, state or TrainingState(), kept(model), validate, reporter=lines, **options
    )
    made.coverage = coverage
    made.set_model(model)
    return made, lines


def end_epochs(callback, count, seconds=0.0, **logs):
    """Goes through epochs as Keras does; each batch takes some seconds."""
    callback.model.stop_training = False
    for epoch in range(count):
        callback.on_epoch_begin(epoch)
        for batch in range(callback.steps):
            callback.on_train_batch_begin(batch)
            callback.stopwatch._clock.now += seconds
            callback.on_train_batch_end(batch, {"loss": 1.5})
            if callback.model.stop_training:
                break
        callback.on_epoch_end(epoch, {**LOGS, **logs})
        if callback.model.stop_training:
            break


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
    for epoch in (1, 2):
        checkpoint.save_best(model.encoder.variables, epoch)
    checkpoint.save(model, TrainingState(1, best_epoch=1, best_score=0.5))
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


def test_keeps_the_best_epoch_and_a_tie_is_not_better(folder):
    made, _ = recorder(folder, [0.3, 0.6, 0.6, 0.5])
    end_epochs(made, 4)
    assert made.state == TrainingState(4, 2, 0.6, since_best=2)
    names = [f.name for f in sorted(folder.checkpoints.iterdir())]
    assert names == ["best-0002.npz", "epoch-0003.npz", "epoch-0004.npz"]
    assert Checkpoint(folder).load(made.model, kept(made.model), SILENT) == made.state


def test_validates_every_so_many_epochs_and_after_the_last(folder):
    made, _ = recorder(folder, [0.1, 0.2, 0.3], validate_every=2, epochs=5)
    end_epochs(made, 5)
    validated = [row["epoch"] for row in folder.read_log() if "val_recall_at_1" in row]
    assert validated == [2, 4, 5]


def test_validates_within_epochs(folder):
    made, lines = recorder(folder, [0.1, 0.4, 0.3, 0.2], validate_every=0.5, epochs=2)
    end_epochs(made, 2)
    rows = folder.read_log()
    scores = [(row["epoch"], row["val_recall_at_1"]) for row in rows]
    assert scores == [(0.5, 0.1), (1, 0.4), (1.5, 0.3), (2, 0.2)]
    assert ["loss" in row for row in rows] == [False, True, False, True]
    assert made.state == TrainingState(2, best_epoch=1, best_score=0.4, since_best=2)
    assert lines[0].startswith("epoch 0.5/2  validation R@1 10.0  0 s")


def test_the_best_validation_may_be_within_an_epoch(folder):
    made, _ = recorder(folder, [0.1, 0.4, 0.3], validate_every=0.75, epochs=2)
    end_epochs(made, 2)  # after batches 3, 6 and 8, the last
    assert [row["epoch"] for row in folder.read_log()] == [0.75, 1, 1.5, 2]
    assert made.state == TrainingState(2, best_epoch=1.5, best_score=0.4, since_best=1)
    assert (folder.checkpoints / "best-0001.5000.npz").exists()
    assert Checkpoint(folder).load(made.model, kept(made.model), SILENT) == made.state


@pytest.mark.parametrize("every, batches", [(0.1, 8), (1.5, 2), (0.3, 6), (2.5, 1)])
def test_a_share_of_an_epoch_ends_with_the_next_batch(folder, every, batches):
    made, _ = recorder(folder, [0.5] * batches, validate_every=every, epochs=2)
    end_epochs(made, 2)
    validated = [row["epoch"] for row in folder.read_log() if "val_recall_at_1" in row]
    assert len(validated) == batches and validated[-1] == 2


def test_stops_after_validations_without_a_better_score(folder):
    made, lines = recorder(folder, [0.5, 0.6, 0.6, 0.5], patience=2)
    made.record_start()
    end_epochs(made, 9)
    assert made.stopped and made.state == TrainingState(3, 1, 0.6, since_best=2)
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [row.get("stopped") for row in rows] == [None, None, None, 1]
    assert lines[-1] == (
        "stopped early after epoch 3: 2 validations without a better R@1 than the 60.0 of epoch 1"
    )


def test_stops_within_an_epoch(folder):
    made, lines = recorder(folder, [0.5, 0.4, 0.3], patience=2, validate_every=0.5)
    end_epochs(made, 9)
    assert made.state == TrainingState(1.5, 0.5, 0.5, since_best=2)
    last = folder.read_log()[-1]
    assert last["epoch"] == 1.5 and last["val_recall_at_1"] == 0.3 and last["stopped"] == 1
    assert last["loss"] == 1.5 and "epoch 1.5" in lines[-1]
    assert (folder.checkpoints / "epoch-0001.5000.npz").exists()
    assert Checkpoint(folder).load(made.model, kept(made.model), SILENT) == made.state


def test_the_last_epoch_is_no_early_stop(folder):
    made, lines = recorder(folder, [0.5, 0.4, 0.3], patience=2, epochs=3)
    end_epochs(made, 3)
    assert not any("stopped" in row for row in folder.read_log())
    assert not any("stopped" in line for line in lines)


def test_each_row_has_its_time_and_what_it_was_spent_on(folder):
    made, lines = recorder(folder, [0.1, 0.4], validate_every=0.5, epochs=1)
    clock, validate = made.stopwatch._clock, made.validate

    def slow():
        clock.now += 3.0
        return validate()

    made.validate = slow
    with made.stopwatch.waiting.counted():
        clock.now += 100.0  # before the epoch
    made.on_epoch_begin(0)
    for batch in range(4):
        with made.stopwatch.waiting.counted():
            clock.now += 1.5
        made.on_train_batch_begin(batch)
        clock.now += 2.5
        made.on_train_batch_end(batch, {"loss": 1.5})
    made.on_epoch_end(0, LOGS)
    for row in folder.read_log():  # each of two batches of 30 images in 4 s
        assert row["seconds"] == 11 and row["validation_seconds"] == 3
        assert row["waiting_seconds"] == 3 and row["step_seconds"] == 5
        assert row["images_per_second"] == 7.5
    assert lines[0] == (
        "epoch 0.5/1  validation R@1 10.0  11 s, 8 images/s, 38 % of it waiting for data"
    )


def test_waiting_for_most_of_an_epoch_brings_a_hint(folder):
    made, lines = recorder(folder, remedy="more training.threads")

    class Slow:
        seconds = 0.0

        def step_began(self):
            self.seconds += 6.0

        def step_ended(self):
            pass

    made.stopwatch.waiting = Slow()
    end_epochs(made, 3, seconds=10.0)  # 24 s of 40
    hints = [line for line in lines if line.startswith("hint")]
    assert hints == [
        "hint: 60 % of the time was spent waiting for images; try more training.threads"
    ]
    assert "60 % of it waiting for data" in lines[0]


def test_without_validation_there_is_no_best_epoch(folder):
    made, _ = recorder(folder)
    end_epochs(made, 1)
    assert made.state.best_epoch is None and not list(folder.checkpoints.glob("best-*"))


def test_the_log_has_a_line_an_epoch(folder):
    model = learner()
    model.fit(IMAGES, LABELS, verbose=0)
    made, lines = recorder(folder, [0.25, 0.5], model=model, coverage=lambda e: Coverage(1, 0.9, 0))
    end_epochs(made, 2)
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [1, 2] and len(lines) == 2
    assert rows[0].items() >= {**LOGS, "val_recall_at_1": 0.25, "images_seen": 0.9}.items()
    assert "seconds" in rows[0]


def test_says_once_in_words_that_everything_collapses(folder):
    made, lines = recorder(folder)
    end_epochs(made, 5, negative_similarity=0.97, effective_rank=1.1)
    (warning,) = lines.warnings
    assert "collapsing" in warning and "0.97" in warning and "smaller learning rate" in warning
    assert lines.index(warning) == 3  # after the third epoch


def rows(*negatives, rank=1.1):
    return [{"negative_similarity": n, "effective_rank": rank} for n in negatives]


def test_a_collapse_has_a_trend():
    assert collapsing(rows(0.3, 0.95, 0.98))  # fell into it
    assert collapsing(rows(0.99, 0.989, 0.99))  # began there, and stays
    assert not collapsing(rows(0.949, 0.935, 0.900))  # `dml demo`, whose R@1 rises from 44 to 73
    assert not collapsing(rows(0.96, 0.97))
    assert not collapsing(rows(0.3, 0.5, 0.95))
    assert not collapsing(rows(0.97, 0.97, 0.97, rank=9.0))
    assert not collapsing([{"loss": 1.0}] * 3)
    assert collapsing(rows(0.0, 0.0, 0.0, rank=0.0))  # a dead network: all embeddings are zero


def test_an_ordinary_run_gets_no_warning(folder):
    made, lines = recorder(folder)
    end_epochs(made, 2)
    assert not lines.warnings


def test_an_epoch_in_one_line():
    row = {**LOGS, "epoch": 3, "seconds": 61.2}
    assert epoch_line(row, 12) == (
        "epoch   3/12  loss 1.5000  similarity 0.80 in a class, 0.10 across  rank 12  61 s"
    )
    assert "  validation R@1 73.5  " in epoch_line({**row, "val_recall_at_1": 0.735}, 12)


@pytest.mark.parametrize("loss", [float("nan"), float("inf")])
def test_stops_with_the_step_and_the_last_good_checkpoint(folder, loss):
    stop = StopAtNan(folder)
    stop.on_epoch_begin(2)
    stop.on_train_batch_end(0, {"loss": 3.0})
    with pytest.raises(FloatingPointError, match="epoch 3, step 8; no epoch was finished"):
        stop.on_train_batch_end(7, {"loss": loss})
    Checkpoint(folder).save(learner(), TrainingState(2))
    with pytest.raises(FloatingPointError, match=r"last good checkpoint is .*epoch-0002\.npz"):
        stop.on_train_batch_end(7, {"loss": loss})


def test_writes_scalars_for_tensorboard(folder):
    from tensorboard.backend.event_processing.plugin_event_accumulator import EventAccumulator

    with TensorBoardScalars(folder.tensorboard, steps=8) as board:
        assert not folder.tensorboard.exists()  # a stage without a row leaves none
        board.write({"epoch": 0.25, "val_recall_at_1": 0.5})
        board.write({"epoch": 1, "val_recall_at_1": 0.75, "loss": 1.5})
    found = EventAccumulator(str(folder.tensorboard)).Reload()
    assert sorted(found.Tags()["tensors"]) == ["epoch", "loss", "val_recall_at_1"]
    assert [event.step for event in found.Tensors("val_recall_at_1")] == [2, 8]
    with TensorBoardScalars(folder.tensorboard, steps=8) as board:  # goes on after epoch 0
        board.write({"epoch": 0.5, "val_recall_at_1": 0.25})
    found = EventAccumulator(str(folder.tensorboard)).Reload()
    assert [event.step for event in found.Tensors("val_recall_at_1")] == [2, 4]


def test_shows_epochs_and_batches_in_turn():
    calls = []

    class Shown(TrainingProgress):
        def epoch_began(self, epoch):
            calls.append(("epoch", epoch))

        def batch_ended(self, batch):
            calls.append(("batch", batch))

        def epoch_ended(self):
            calls.append("end")

    model = learner()
    model.fit(IMAGES, LABELS, batch_size=4, epochs=2, verbose=0, callbacks=[ProgressBars(Shown())])
    one = [("batch", 0), ("batch", 1), "end"]
    assert calls == [("epoch", 0), *one, ("epoch", 1), *one]


def test_the_encoder_before_the_first_epoch_is_a_candidate(folder):
    made, lines = recorder(folder, [0.5, 0.4, 0.5])
    made.record_start()
    end_epochs(made, 2)
    assert made.state == TrainingState(2, best_epoch=0, best_score=0.5, since_best=2)
    assert [row["epoch"] for row in folder.read_log()] == [0, 1, 2]
    assert lines[0] == "epoch   0/9  validation R@1 50.0, before the training"
    assert (folder.checkpoints / "best-0000.npz").exists()


def test_the_start_of_a_stage_is_kept(folder):
    model, checkpoint = learner(), Checkpoint(folder)
    before = [keras.ops.convert_to_numpy(v) for v in kept(model)]
    checkpoint.save_start(kept(model))
    model.fit(IMAGES, LABELS, verbose=0)
    for found, expected in zip(checkpoint.read_start(kept(model)), before, strict=True):
        np.testing.assert_array_equal(found, expected)
