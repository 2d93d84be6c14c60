"""Checks of options: the ends of ranges, and what the error says."""

from pathlib import Path

import numpy as np
import pytest

from dml._options import (
    check_at_least,
    check_counts,
    check_finite,
    check_integer,
    check_interval,
    check_known,
    check_list,
    check_positive,
    check_within,
)
from dml.errors import OptionError

NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    "check, allowed, refused, text",
    [
        (lambda **x: check_at_least(2, **x), [2, 3.5], [1, NAN], "must be at least 2; got"),
        (lambda **x: check_at_least(2, **x), [2, 10**400], [INF], "must be a finite number; got"),
        (lambda **x: check_at_least(2, finite=False, **x), [2, INF], [1, -INF, NAN], "at least 2"),
        (check_finite, [0, -2.5, 10**400], [INF, -INF, NAN], "must be a finite number; got"),
        (check_positive, [1e-9, 10**400], [INF], "must be a finite number; got"),
        (lambda **x: check_integer(2, **x), [2, np.int32(3)], [1, np.int64(-5)], "at least 2; got"),
        (
            lambda **x: check_integer(0, **x),
            [0, 7],
            [2.5, 2.0, np.float32(2), NAN, True, "2", None],
            "must be an integer; got",
        ),
        (check_positive, [1e-9, 4], [0, -1, NAN], "must be positive; got"),
        (check_positive, [np.float32(2)], ["5m", None, (1,)], "must be a number; got"),
        (lambda **x: check_at_least(0, **x), [0], ["5m", None, (1,)], "must be a number; got"),
        (lambda **x: check_within(0, 1, **x), [0], ["5m", None, (1,)], "must be a number; got"),
        (lambda **x: check_interval("[0, 1]", **x), [0], ["5m", None], "must be a number; got"),
        (lambda **x: check_within(-1, 1, **x), [-1, 0, 1], [1.1, -2, NAN], r"in \[-1, 1\]; got"),
        (lambda **x: check_interval("[0, 1)", **x), [0, 0.5], [1, -1, NAN], r"in \[0, 1\); got"),
        (
            lambda **x: check_interval("(0, 90] degrees", **x),
            [1, 90],
            [0, 91, NAN],
            r"must be in \(0, 90\] degrees; got",
        ),
        (
            lambda **x: check_interval("(0, 1)", **x),
            [0.1, 0.9],
            [0, 1, NAN],
            r"must be in \(0, 1\); got",
        ),
        (
            check_list,
            [["a.jpg"], (), np.array(["a.jpg"])],
            ["a.jpg", b"a.jpg", Path("a.jpg")],
            r"must be a list, such as \[.*a\.jpg.*\]; got .*a\.jpg",
        ),
        (
            check_counts,
            [(1,), [2, 1], np.array([1, 2])],
            [(), (1, 0), [0.5], (1, 2.5), (1.0,), (True,)],
            "must be positive integers; got",
        ),
        (lambda **x: check_known((1, 2), **x), [1, 2], [0, 3], "must be one of 1, 2; got"),
        (
            lambda **x: check_known(("keep", "stretch"), **x),
            ["keep"],
            ["kept", ""],
            "must be one of keep, stretch; got",
        ),
    ],
)
def test_the_first_option_out_of_range_is_named(check, allowed, refused, text):
    good = allowed[0]
    for value in allowed:
        check(first=good, second=value)
    for value in refused:
        with pytest.raises(OptionError, match=text) as caught:
            check(first=good, second=value, third=value)
        assert caught.value.option == "second" and repr(value) in str(caught.value)
