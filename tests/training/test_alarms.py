"""Alarms: what is said in an epoch that goes wrong, and when the training stops."""

import pytest

from dml._storage.run_folder import RunFolder
from dml.training._alarms import StopAtNan, Warnings, collapsing
from dml.training._checkpoint import Checkpoint, TrainingState
from tests.training.recording import end_epochs, learner, recorder


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run").create()


def test_says_once_in_words_that_everything_collapses(folder):
    made, lines = recorder(folder)
    alarms = [Warnings(folder, lines)]
    end_epochs(made, 5, then=alarms, negative_similarity=0.97, effective_rank=1.1)
    (warning,) = lines.warnings
    assert "collapsing" in warning and "0.97" in warning and "smaller learning rate" in warning
    assert lines.index(warning) == 3  # after the third epoch


def test_waiting_for_most_of_an_epoch_brings_a_hint(folder):
    made, lines = recorder(folder)
    alarms = [Warnings(folder, lines, "more training.threads")]

    class Slow:
        seconds = 0.0

        def step_began(self):
            self.seconds += 6.0

        def step_ended(self):
            pass

    made.stopwatch.waiting = Slow()
    end_epochs(made, 3, seconds=10.0, then=alarms)  # 24 s of 40
    hints = [line for line in lines if line.startswith("hint")]
    assert hints == [
        "hint: 60 % of the time was spent waiting for images; try more training.threads"
    ]
    assert "60 % of it waiting for data" in lines[0]


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
    end_epochs(made, 2, then=[Warnings(folder, lines, "more training.threads")])
    assert len(lines) == 2 and not lines.warnings


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
