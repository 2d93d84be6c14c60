"""The journal of trials: shared by processes, whose trials are taken over when they end."""

import contextlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from dml._storage.study_folder import StudyFolder
from dml.errors import DataError
from dml.tuning import Choice, Interval, SearchSpace, Trial
from dml.tuning._limits import Limits
from dml.tuning._phases import Phase
from dml.tuning._store import TrialStore

SPACE = SearchSpace(
    {"optimizer.learning_rate": Interval(1e-4, 1, log=True)},
    {
        "loss": {
            "triplet": {"margin": Interval(0, 1)},
            "fast_ap": {"bins": Interval(2, 9, whole=True)},
        }
    },
)
FIRST = {"optimizer.learning_rate": 0.1, "loss.name": "triplet", "loss.triplet.margin": 0.25}
OWN = {
    "training.stage": "full",
    "optimizer.learning_rate": 0.1,
    "loss.name": "triplet",
    "loss.margin": 0.25,
}


@pytest.fixture
def folder(tmp_path):
    folder = StudyFolder(tmp_path / "study")
    folder.runs.mkdir(parents=True)
    return folder


PHASE = Phase("full", SPACE, 1.0, lambda earlier: [FIRST])


def store(folder, seed=0, phases=(PHASE,)):
    return TrialStore(folder, phases, seed)


def following(store, trials, budget=None):
    return store.next(Limits(trials, budget))


def ended(opened, score=None, state="complete", reason=""):
    about = opened.number, opened.stage, opened.own, state, opened.options
    opened.finish(Trial(*about, score, 2.0, reason, Path()))


def run(store, score, trials):
    """Completes a trial with a score, or leaves it; returns its number and options."""
    with following(store, trials) as opened:
        if score is not None:
            ended(opened, score)
        return opened.number, opened.options


def trials_of(store):
    with store.alone():
        return store.trials()


def score_of(options):
    return 1 / (1 + abs(options["optimizer.learning_rate"] - 0.01))


def test_the_recipe_comes_first_then_others_until_there_are_enough(folder):
    trials = store(folder)
    found = [run(trials, 0.5, 4) for _ in range(4)]
    assert [number for number, _ in found] == [0, 1, 2, 3] and found[0][1] == OWN
    assert len({str(options) for _, options in found}) == 4
    for _, options in found:
        option = {"triplet": "loss.margin", "fast_ap": "loss.bins"}[options["loss.name"]]
        assert set(options) == {"training.stage", "optimizer.learning_rate", "loss.name", option}
    with following(trials, 4) as opened:
        assert opened is None
    assert [(t.state, t.score, t.options) for t in trials_of(trials)] == [
        ("complete", 0.5, options) for _, options in found
    ]


@pytest.mark.parametrize("count", [1, 2, 3])
def test_no_more_trials_than_asked_for(folder, count):
    trials = store(folder, phases=(HEAD, replace(PHASE, first=then)), seed=123_456)
    numbers = []
    while True:
        with following(trials, count) as opened:
            if opened is None:
                break
            ended(opened, opened.options.get("head_stage.learning_rate") or 0.5)
            numbers.append(opened.number)
    assert numbers == list(range(count))


def test_a_trial_that_was_left_is_continued_first_with_its_options(folder):
    trials = store(folder)
    run(trials, 0.5, 3)
    left = run(trials, None, 3)
    assert [t.state for t in trials_of(trials)] == ["complete", "interrupted"]
    assert run(store(folder), 0.6, 3) == left
    assert run(store(folder), 0.6, 3)[0] == 2
    assert [t.state for t in trials_of(trials)] == ["complete"] * 3


def test_a_trial_that_another_process_trains_is_left_alone(folder):
    trials = store(folder)
    with following(trials, 2) as opened, following(store(folder), 2) as other:
        assert (opened.number, other.number) == (0, 1)
        assert [t.state for t in trials_of(trials)] == ["running"] * 2
        with following(trials, 2) as more:
            assert more is None


CHILD = """
import os, sys
from tests.tuning.test_store import StudyFolder, following, store
with following(store(StudyFolder(sys.argv[1])), 5) as opened:
    print(opened.number, opened.options, flush=True)
    os.kill(os.getpid(), 9)
"""


@pytest.mark.slow
def test_the_trial_of_a_killed_process_is_continued(folder):
    command = [sys.executable, "-c", CHILD, str(folder.path)]
    root = Path(__file__).parents[2]
    killed = subprocess.run(command, capture_output=True, text=True, cwd=root, env=os.environ)
    assert killed.stdout == f"0 {OWN}\n", killed.stderr
    assert run(store(folder), 0.5, 5) == (0, OWN)


def test_a_study_that_was_interrupted_draws_what_it_would_have_drawn(folder, tmp_path):
    whole, other = store(folder, seed=3), StudyFolder(tmp_path / "other")
    other.runs.mkdir(parents=True)
    drawn, again = [], []
    for _ in range(10):
        with following(whole, 12) as opened:
            ended(opened, score_of(opened.options))
        drawn.append(opened.options)
    for number in range(10):
        parts = store(other, seed=3)  # as a new process opens it
        if number in (1, 8):
            run(parts, None, 12)
        with following(parts, 12) as opened:
            ended(opened, score_of(opened.options))
        again.append(opened.options)
    assert again == drawn
    third = StudyFolder(tmp_path / "third")
    third.runs.mkdir(parents=True)
    seed = store(third, seed=4)
    assert [run(seed, 0.5, 2)[1] for _ in range(2)][1] != drawn[1]


def test_trials_below_the_median_are_pruned_and_the_recipe_never(folder):
    trials = store(folder)
    with following(trials, 9) as opened:
        assert not opened.report([0.1, 0.1, 0.1])
        ended(opened, 0.1)
    for score in (0.5, 0.6, 0.7):
        with following(trials, 9) as opened:
            assert not opened.report([score] * 3)
            ended(opened, score)
    with following(trials, 9) as opened:  # the median of 0.1, 0.5, 0.6, 0.7 is 0.55
        assert not opened.report([0.2])  # the first validation is no ground
        assert opened.report([0.2, 0.5])
        ended(opened, 0.5, "pruned")
    with following(trials, 9) as opened:
        assert not opened.report([0.2, 0.56])
    assert [t.state for t in trials_of(trials)][-2:] == ["pruned", "interrupted"]


def test_failures_are_kept_with_their_reason(folder):
    trials = store(folder)
    with following(trials, 1) as opened:
        ended(opened, None, "failed", "diverged")
    (found,) = trials_of(trials)
    assert (found.state, found.reason, found.seconds) == ("failed", "diverged", 2)
    assert found.score is None and found.run == folder.run(0).path and found.own


def head_first(earlier):
    return [{"head_stage.learning_rate": 0.5}]


def then(earlier):
    """The recipe itself, then the best of the trials before."""
    best = max(earlier, key=lambda trial: trial.score)
    return [FIRST, {**FIRST, "optimizer.learning_rate": best.options["head_stage.learning_rate"]}]


HEAD = Phase("head", SearchSpace({"head_stage.learning_rate": Interval(0.1, 1)}), 0.5, head_first)


def test_a_phase_follows_another_and_learns_from_it(folder):
    trials = store(folder, phases=(HEAD, replace(PHASE, first=then)))
    stages = []
    for _ in range(6):
        with following(trials, 6) as opened:
            rate = opened.options.get("head_stage.learning_rate")
            ended(opened, rate or 0.5)
            stages.append((opened.number, opened.stage, opened.own))
    assert stages[:3] == [(0, "head", True), (1, "head", False), (2, "head", False)]
    assert stages[3:] == [(3, "full", True), (4, "full", False), (5, "full", False)]
    found = trials_of(trials)
    assert [t.stage for t in found] == ["head"] * 3 + ["full"] * 3
    assert found[0].options == {"training.stage": "head", "head_stage.learning_rate": 0.5}
    best = max(t.options["head_stage.learning_rate"] for t in found[:3])
    assert found[4].options == {**OWN, "optimizer.learning_rate": best}
    with following(trials, 6) as opened:
        assert opened is None
    with following(trials, 14) as opened:
        assert (opened.number, opened.stage) == (6, "head")  # half of fourteen


def test_a_phase_ends_with_its_share_of_the_time(folder):
    times = [0.0]
    limits = Limits(20, 10, lambda: times[0])
    trials = store(folder, phases=(HEAD, replace(PHASE, first=then)))
    for now, stage in ((4.9, "head"), (5.0, "full"), (9.9, "full")):
        times[0] = now
        with trials.next(limits) as opened:
            assert opened.stage == stage
            ended(opened, 0.5)
    times[0] = 10.0
    with trials.next(limits) as opened:
        assert opened is None


def test_what_never_began_is_no_trial(folder):
    trials = store(folder, phases=(HEAD, replace(PHASE, first=then)))
    for _ in range(3):  # of the two that the second phase starts with, one
        with following(trials, 3) as opened:
            ended(opened, opened.options.get("head_stage.learning_rate") or 0.5)
    with following(trials, 3) as opened:
        assert opened is None
    found = [(t.number, t.stage, t.state) for t in trials_of(trials)]
    assert found == [(0, "head", "complete"), (1, "head", "complete"), (2, "full", "complete")]
    assert run(trials, 0.5, 4)[0] == 3


def test_a_phase_without_time_or_trials_is_not_begun(folder):
    first = replace(PHASE, first=lambda earlier: pytest.fail("queued"))
    trials = store(folder, phases=(HEAD, first))
    run(trials, 0.5, 1)
    for limits in (Limits(1, None), Limits(9, 1, iter([0.0, 1.0, 1.0]).__next__)):
        with trials.next(limits) as opened:
            assert opened is None


def test_a_damaged_journal_is_named(folder):
    run(store(folder), 0.5, 1)
    folder.journal.write_bytes(b"no journal\n" + folder.journal.read_bytes())
    with pytest.raises(DataError, match=r"journal\.log: damaged"):
        store(folder)


def test_choices_are_drawn(folder):
    space = SearchSpace({"optimizer.weight_decay": Choice((0.0, 0.5))})
    phase = Phase("full", space, 1.0, lambda earlier: [{"optimizer.weight_decay": 0.5}])
    trials = store(folder, phases=(phase,))
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(following(trials, 9)) for _ in range(9)]
        assert {one.options["optimizer.weight_decay"] for one in opened} == {0.0, 0.5}
