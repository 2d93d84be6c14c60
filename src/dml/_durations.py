"""Durations as text, such as a budget of time."""

import math
import re

from dml.errors import OptionError

_SECONDS = {"s": 1, "m": 60, "h": 3600}


def seconds_of(text: str, option: str = "budget") -> float:
    """Returns the seconds of a duration: a number and its unit, `90s`, `20m` or `1.5h`.

    Args:
        text: The duration.
        option: What it is the value of, for the message.

    Raises:
        OptionError: It is not a positive duration.
    """
    match = re.fullmatch(r"(\d+\.?\d*|\.\d+)([smh])", str(text).strip(), re.ASCII)
    seconds = float(match[1]) * _SECONDS[match[2]] if match else 0
    if not 0 < seconds < math.inf:
        raise OptionError(
            option, f"must be a duration above 0, such as 90s, 20m or 1.5h; got {text!r}"
        )
    return seconds


def minutes(seconds: float) -> str:
    """Returns a duration as text."""
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"
