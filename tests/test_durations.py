"""Durations: a number and its unit."""

import pytest

from dml._durations import minutes, seconds_of
from dml.errors import OptionError


@pytest.mark.parametrize(
    "text, seconds",
    [("90s", 90), ("20m", 1200), ("1.5h", 5400), (".5m", 30), ("2.h", 7200), (" 3s ", 3)],
)
def test_seconds(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "20 m", "m", "0s", "-1m", "1d", "1h30m", "infh", "9" * 400 + "h", "٣s", "1M"]
)
def test_anything_else_is_refused_and_named(text):
    with pytest.raises(OptionError, match=r"must be a duration above 0, such as 90s") as caught:
        seconds_of(text, "--budget")
    assert caught.value.option == "--budget" and repr(text) in str(caught.value)


@pytest.mark.parametrize(
    "seconds, text", [(0.2, "0 s"), (99.4, "99 s"), (100, "1.7 min"), (5400, "90.0 min")]
)
def test_is_written_in_minutes_from_100_seconds_on(seconds, text):
    assert minutes(seconds) == text
