"""How many threads read images."""

import os

import pytest

from dml._threads import MOST, reading_threads
from dml.errors import OptionError


def test_one_for_each_processor_unless_told(monkeypatch):
    monkeypatch.setattr("dml._threads.processors", lambda: 3)
    assert [reading_threads(n) for n in (None, 1, 40)] == [3, 1, 40]


def test_not_more_than_memory_is_good_for(monkeypatch):
    monkeypatch.setattr("dml._threads.processors", lambda: 128)
    assert reading_threads(None) == MOST


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_processors_are_those_of_the_process():
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert reading_threads(None) == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_none_at_all_are_refused():
    with pytest.raises(OptionError, match="threads must be at least 1; got 0"):
        reading_threads(0)
