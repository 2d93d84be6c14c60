"""How long a study goes on."""

import time
from collections.abc import Callable

from dml._options import check_positive


class Limits:
    """How long a study goes on.

    Args:
        trials: Trials in all; positive.
        budget: Seconds from now; positive. None for no limit.
        clock: Returns seconds.
    """

    def __init__(
        self, trials: int, budget: float | None, clock: Callable[[], float] = time.monotonic
    ):
        check_positive(trials=trials)
        if budget is not None:
            check_positive(budget=budget)
        self.trials = trials
        self._budget, self._clock = budget, clock
        self._began = clock()

    @classmethod
    def shared(
        cls,
        trials: int,
        budget: float | None,
        further: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> tuple["Limits", "Limits"]:
        """Returns the limits of the trials, and of the whole with as many further trainings.

        The trials leave these their share of the time.
        """
        whole = cls(trials, budget, clock)
        if budget is None:
            return whole, whole
        return cls(trials, budget * trials / (trials + further), clock), whole

    def over(self, share: float = 1.0) -> bool:
        """Returns whether the time, or this share of it, is over."""
        return self._budget is not None and self._clock() >= self._began + share * self._budget
