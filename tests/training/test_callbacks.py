"""Callbacks around epochs: validation, the best epoch, the log, what is shown."""

from dataclasses import replace

import pytest

from dml._storage.run_folder import RunFolder
from dml.reporting import SILENT, TrainingProgress
from dml.samplers import Coverage
from dml.training._callbacks import ProgressBars, epoch_line
from dml.training._checkpoint import Checkpoint, TrainingState
from dml.training._stopwatch import Waiting
from tests.training.recording import IMAGES, LABELS, LOGS, end_epochs, kept, learner, recorder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


def test_keeps_the_best_epoch_and_a_tie_is_not_better(folder):
    made, _ = recorder(folder, [0.3, 0.6, 0.6, 0.5])
    end_epochs(made, 4)
    assert made.state == TrainingState(4, 2, 0.6, since_best=2)
    names = [f.name for f in sorted(folder.checkpoints.iterdir())]
    assert names == ["best-0002.npz", "epoch-0003.npz", "epoch-0004.npz"]
    assert Checkpoint(folder).load(made.model, kept(made.model), SILENT) == made.state


def test_validates_every_so_many_epochs_and_after_the_last(folder):
    made, _ = recorder(folder, [0.1, 0.2, 0.3], every=2, epochs=5)
    end_epochs(made, 5)
    validated = [row["epoch"] for row in folder.read_log() if "val_recall_at_1" in row]
    assert validated == [2, 4, 5]


def test_validates_within_epochs(folder):
    made, lines = recorder(folder, [0.1, 0.4, 0.3, 0.2], every=0.5, epochs=2)
    end_epochs(made, 2)
    rows = folder.read_log()
    scores = [(row["epoch"], row["val_recall_at_1"]) for row in rows]
    assert scores == [(0.5, 0.1), (1, 0.4), (1.5, 0.3), (2, 0.2)]
    assert ["loss" in row for row in rows] == [False, True, False, True]
    assert made.state == TrainingState(2, best_epoch=1, best_score=0.4, since_best=2)
    assert lines[0].startswith("epoch 0.5/2  validation R@1 10.0  0 s")


def test_the_best_validation_may_be_within_an_epoch(folder):
    made, _ = recorder(folder, [0.1, 0.4, 0.3], every=0.75, epochs=2)
    end_epochs(made, 2)  # after batches 3, 6 and 8, the last
    assert [row["epoch"] for row in folder.read_log()] == [0.75, 1, 1.5, 2]
    assert made.state == TrainingState(2, best_epoch=1.5, best_score=0.4, since_best=1)
    assert (folder.checkpoints / "best-0001.5000.npz").exists()
    assert Checkpoint(folder).load(made.model, kept(made.model), SILENT) == made.state


@pytest.mark.parametrize("every, batches", [(0.1, 8), (1.5, 2), (0.3, 6), (2.5, 1)])
def test_a_share_of_an_epoch_ends_with_the_next_batch(folder, every, batches):
    made, _ = recorder(folder, [0.5] * batches, every=every, epochs=2)
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
    made, lines = recorder(folder, [0.5, 0.4, 0.3], patience=2, every=0.5)
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
    made, lines = recorder(folder, [0.1, 0.4], every=0.5, epochs=1)
    clock, score = made.stopwatch._clock, made.validation.score

    def slow():
        clock.now += 3.0
        return score()

    made.validation = replace(made.validation, score=slow)
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


def test_without_validation_there_is_no_best_epoch(folder):
    made, _ = recorder(folder)
    end_epochs(made, 1)
    assert made.state.best_epoch is None and not list(folder.checkpoints.glob("best-*"))


def test_the_log_has_a_line_an_epoch(folder):
    model = learner()
    model.fit(IMAGES, LABELS, verbose=0)
    made, lines = recorder(folder, [0.25, 0.5], model=model)
    made.follow(Waiting(), lambda epoch: Coverage(1, 0.9, 0))
    end_epochs(made, 2)
    rows = folder.read_log()
    assert [row["epoch"] for row in rows] == [1, 2] and len(lines) == 2
    assert rows[0].items() >= {**LOGS, "val_recall_at_1": 0.25, "images_seen": 0.9}.items()
    assert "seconds" in rows[0]


def test_an_epoch_in_one_line():
    row = {**LOGS, "epoch": 3, "seconds": 61.2}
    assert epoch_line(row, 12) == (
        "epoch   3/12  loss 1.5000  similarity 0.80 in a class, 0.10 across  rank 12  61 s"
    )
    assert "  validation R@1 73.5  " in epoch_line({**row, "val_recall_at_1": 0.735}, 12)


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
