"""Checks of options, each an `OptionError` that names the option, its range and its value."""

import math
import os
import re
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

from dml.errors import OptionError


def _check_number(name: str, value: object) -> None:
    """Raises OptionError for a value that is no number, such as a text."""
    if not isinstance(value, Real):
        raise OptionError(name, f"must be a number; got {value!r}")


def check_finite(**options: float) -> None:
    """Raises OptionError for the first option that is infinite, or not a number."""
    for name, value in options.items():
        _check_number(name, value)
        if not -math.inf < value < math.inf:
            raise OptionError(name, f"must be a finite number; got {value!r}")


def check_at_least(lowest: float, *, finite: bool = True, **options: float) -> None:
    """Raises OptionError for the first option below a value, infinite, or not a number.

    Args:
        lowest: The lowest value that is allowed.
        finite: Whether infinity is refused.
        options: Values by name.
    """
    for name, value in options.items():
        _check_number(name, value)
        if not value >= lowest:
            raise OptionError(name, f"must be at least {lowest:g}; got {value!r}")
        if finite:
            check_finite(**{name: value})


def is_integer(value: object) -> bool:
    """Returns whether a value is an integer, of Python or NumPy; booleans are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def check_integer(lowest: int, **options: float) -> None:
    """Raises OptionError for the first option that is no integer, or below a value.

    For counts and seeds, with which Python and NumPy would fail later and without their name.
    """
    for name, value in options.items():
        if not is_integer(value):
            raise OptionError(name, f"must be an integer; got {value!r}")
        check_at_least(lowest, **{name: value})


def check_positive(**options: float) -> None:
    """Raises OptionError for the first option that is 0 or less, infinite, or not a number."""
    for name, value in options.items():
        _check_number(name, value)
        if not value > 0:
            raise OptionError(name, f"must be positive; got {value!r}")
        check_finite(**{name: value})


def check_within(lowest: float, highest: float, **options: float) -> None:
    """Raises OptionError for the first option outside of [lowest, highest]."""
    for name, value in options.items():
        _check_number(name, value)
        if not lowest <= value <= highest:
            raise OptionError(name, f"must be in [{lowest:g}, {highest:g}]; got {value!r}")


def check_interval(interval: str, **options: float) -> None:
    """Raises OptionError for the first option outside of an interval.

    Args:
        interval: Its ends, a round bracket where one is excluded, and a unit, if any: "[0, 1)",
            "(0, 90] degrees".
        options: Values by name.
    """
    low, high = re.findall(r"[-\d.]+", interval)
    for name, value in options.items():
        _check_number(name, value)
        above = value >= float(low) if "[" in interval else value > float(low)
        below = value <= float(high) if "]" in interval else value < float(high)
        if not (above and below):
            raise OptionError(name, f"must be in {interval}; got {value!r}")


def check_counts(**options: Sequence[float]) -> None:
    """Raises OptionError for the first option that is empty, or not of positive integers only."""
    for name, values in options.items():
        if not len(values) or not all(is_integer(value) and value >= 1 for value in values):
            raise OptionError(name, f"must be positive integers; got {values!r}")


def check_list(**options: object) -> None:
    """Raises OptionError for the first option that is a path or text in place of a list of them."""
    for name, value in options.items():
        if isinstance(value, (str, bytes, os.PathLike)):
            raise OptionError(name, f"must be a list, such as [{value!r}]; got {value!r}")


def check_known(known: Iterable[str | int], **options: str | int) -> None:
    """Raises OptionError for the first option that is not one of the known values."""
    known = tuple(known)
    for name, value in options.items():
        if value not in known:
            text = ", ".join(map(str, known))
            raise OptionError(name, f"must be one of {text}; got {value!r}")
