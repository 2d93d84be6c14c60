"""One trial: completed, pruned, out of time, diverged; and continued as if uninterrupted."""

import contextlib

import pytest

from dml._storage.run_folder import RunFolder
from dml._storage.unfinished import measuring
from dml.errors import BusyError, DataError, DivergenceError, OptionError
from dml.recipe import load_recipe
from dml.reporting import SILENT
from dml.runs import Trainer
from dml.tuning._limits import Limits
from dml.tuning._training import fit, train
from tests.reporters import Lines
from tests.runs.running import flags

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("eager_training")]


class Opened:
    """A trial without a journal, which is pruned after so many validations."""

    number, stage, options = 1, "full", {"optimizer.learning_rate": 3e-3}

    def __init__(self, prune_after=99, own=False):
        self.prune_after, self.own, self.scores, self.ended = prune_after, own, [], None

    def report(self, scores):
        self.scores = scores
        return len(scores) >= self.prune_after

    def finish(self, trial):
        assert self.ended is None
        self.ended = trial


class Clock(list):
    """Seconds, one after the other; the last one stays."""

    def __call__(self):
        return self.pop(0) if self[1:] else self[0]


@pytest.fixture(scope="module")
def recorded():
    trainer = Trainer(load_recipe("glyphs", flags()))
    return trainer._record(trainer.recipe.dataset.items().select("train", "val"))


def trained(path, recorded, opened, limits=None, reporter=SILENT, **changes):
    recipe = load_recipe("glyphs", flags(**changes))
    limits = limits or Limits(9, None)
    run, features = RunFolder(path), path.parent / "features"
    return train(recipe, opened, run, recorded, features, limits, reporter)


@pytest.fixture(scope="module")
def whole(recorded, tmp_path_factory):
    path, opened, lines = tmp_path_factory.mktemp("whole") / "run", Opened(), Lines()
    return trained(path, recorded, opened, reporter=lines), opened, lines


def test_a_complete_trial_has_the_score_of_the_epoch_that_is_kept(whole):
    trial, opened, _ = whole
    scores = [row["val_recall_at_1"] for row in RunFolder(trial.run).read_log()]
    assert trial is opened.ended and opened.scores == scores
    assert len(scores) == 4  # and before the first epoch
    assert trial.score == max(scores)
    assert trial.state == "complete" and trial.seconds > 0 and trial.options == opened.options
    recipe = load_recipe(trial.run / "recipe.toml")
    assert recipe.optimizer.learning_rate == 3e-3
    assert RunFolder(trial.run).encoder.exists() and not RunFolder(trial.run).checkpoints.exists()


def test_a_trial_shows_its_progress_only(whole):
    lines = whole[2]
    assert not lines and "validating" in lines.done


def test_a_trial_whose_time_is_over_continues_as_if_uninterrupted(whole, recorded, tmp_path):
    stopped = Opened()
    limits = Limits(9, 10, Clock([0, 1, 11]))
    trial = trained(tmp_path / "run", recorded, stopped, limits)
    assert trial.state == "interrupted" and stopped.ended is None and len(stopped.scores) == 2
    again = Opened()
    trial = trained(tmp_path / "run", recorded, again)
    assert trial.state == "complete" and again.scores == whole[1].scores
    assert trial.score == whole[0].score


def test_a_trial_is_pruned_between_epochs(recorded, tmp_path):
    opened = Opened(prune_after=1)
    trial = trained(tmp_path / "run", recorded, opened)
    assert trial.state == "pruned" and trial.score == max(opened.scores)
    assert opened.ended is trial
    assert not RunFolder(trial.run).encoder.exists()
    assert not RunFolder(trial.run).checkpoints.exists()


class Failing:
    """A trainer that fails."""

    def __init__(self, error):
        self.error = error

    def __call__(self, recipe, reporter):
        return self

    def _run(self, *arguments, **options):
        raise self.error


def test_waits_until_another_process_has_computed_the_features(recorded, tmp_path, monkeypatch):
    attempts, waited = [], []
    stack, stays = contextlib.ExitStack(), contextlib.ExitStack()

    class Busy(Failing):
        def _run(self, *arguments, **options):
            attempts.append(len(waited))
            if not attempts[1:]:
                raise self.error

    def sleep(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            stack.close()

    monkeypatch.setattr("dml.tuning._training.Trainer", Busy(BusyError("writing")))
    monkeypatch.setattr("dml.tuning._training.time.sleep", sleep)
    with stack, stays:
        for name in ("train", "val"):  # the first that is free may be the one that is needed
            lock = measuring(tmp_path / "features" / name / "unfinished")
            (stack if name == "val" else stays).enter_context(lock)
        recipe, run = load_recipe("glyphs", flags()), RunFolder(tmp_path / "run")
        fit(recipe, run, recorded, tmp_path / "features", Limits(9, None), SILENT)
    assert attempts == [0, 3]  # while the others computed, nothing was built


@pytest.mark.parametrize(
    "error, own, reason",
    [
        (DivergenceError("the loss is not finite"), True, "the loss is not finite"),
        (OptionError("memory.size", "is too large"), False, "memory.size is too large"),
        (MemoryError("no room"), True, "not enough memory: no room"),
    ],
)
def test_a_trial_fails_alone(recorded, tmp_path, monkeypatch, error, own, reason):
    monkeypatch.setattr("dml.tuning._training.Trainer", Failing(error))
    opened = Opened(own=own)
    trial = trained(tmp_path / "run", recorded, opened)
    assert (trial.state, trial.reason) == ("failed", reason) and opened.ended is trial
    assert trial.score is None


@pytest.mark.parametrize(
    "error, own",
    [
        (OptionError("memory.size", "is too large"), True),
        (DataError("a.png", "is damaged"), False),
        (ZeroDivisionError("a bug"), False),
    ],
)
def test_what_other_trials_share_stops_the_study(recorded, tmp_path, monkeypatch, error, own):
    monkeypatch.setattr("dml.tuning._training.Trainer", Failing(error))
    opened = Opened(own=own)
    with pytest.raises(type(error)):
        trained(tmp_path / "run", recorded, opened)
    assert opened.ended is None
