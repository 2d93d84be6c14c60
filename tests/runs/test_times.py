"""Times of stages, by a clock that is set by hand."""

import pytest

from dml._storage.run_folder import RunFolder
from dml.errors import DataError
from dml.runs._times import StageTimes, times_of


class Clock:
    """A clock."""

    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def folder(tmp_path):
    folder = RunFolder(tmp_path / "run").create()
    folder.begin("", ())
    return folder


def test_an_inner_stage_counts_for_itself_only(folder):
    clock = Clock()
    times = StageTimes(clock)
    with times.of("reading"):
        clock.now += 1
    clock.now += 10  # between stages
    times.keep_in(folder)
    with times.of("head stage"):
        clock.now += 2
        with times.of("features"):
            clock.now += 4
        clock.now += 8
    assert times_of(folder) == {"reading": 1.0, "head stage": 10.0, "features": 4.0}


def test_attempts_are_added_up_and_an_interrupted_one_counts(folder):
    for seconds in (3, 5):
        clock = Clock()
        times = StageTimes(clock)
        times.keep_in(folder)
        with pytest.raises(KeyboardInterrupt), times.of("training"):
            clock.now += seconds
            raise KeyboardInterrupt
    assert times_of(folder) == {"training": 8.0}


def test_a_damaged_file_is_named(folder):
    assert times_of(folder) == {}
    folder.write_json(folder.times, {"training": "long"})
    with pytest.raises(DataError, match=r"times\.json: training is missing or not what dml writes"):
        times_of(folder)
    clock = Clock()
    times = StageTimes(clock)
    times.keep_in(folder)
    with times.of("training"):
        clock.now += 1
    assert times_of(folder) == {"training": 1.0}  # a training goes on, and counts anew
