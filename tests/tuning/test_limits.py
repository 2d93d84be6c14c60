"""How long a study goes on: trials, and a share of its time."""

import pytest

from dml.errors import OptionError
from dml.tuning._limits import Limits


def test_a_share_of_the_time():
    assert not Limits(1, None).over() and not Limits(1, None).over(0)
    times = [100.0]
    limits = Limits(1, 4, lambda: times[0])
    for now, half, whole in ((101.9, False, False), (102, True, False), (104, True, True)):
        times[0] = now
        assert (limits.over(0.5), limits.over()) == (half, whole)


@pytest.mark.parametrize("trials, budget, option", [(0, None, "trials"), (1, 0, "budget")])
def test_limits_are_positive(trials, budget, option):
    with pytest.raises(OptionError, match=f"{option} must be positive"):
        Limits(trials, budget)


def test_trials_leave_time_to_what_follows():
    times = [0.0]
    trials, whole = Limits.shared(4, 20, further=6, clock=lambda: times[0])
    assert trials.trials == whole.trials == 4
    for now, first, both in ((7.9, False, False), (8, True, False), (20, True, True)):
        times[0] = now
        assert (trials.over(), whole.over()) == (first, both)
    assert not any(limits.over() for limits in Limits.shared(4, None, further=6))
