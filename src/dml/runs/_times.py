"""How long the stages of a training took."""

import contextlib
import time
from collections.abc import Callable, Iterator

from dml._storage.run_folder import RunFolder
from dml.errors import DmlError
from dml.runs._metrics import NUMBER
from dml.runs._stage_plan import StageName

_SHAPE = {str: NUMBER}


class StageTimes:
    """Adds up the time of each stage of a training, over all its attempts.

    Args:
        clock: Returns seconds.

    Attributes:
        seconds: Stage -> its time. That of a stage within another counts for
            the inner one only.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.seconds: dict[str, float] = {}
        self._clock = clock
        self._folder: RunFolder | None = None
        self._running: list[str] = []
        self._since = 0.0

    def keep_in(self, folder: RunFolder) -> None:
        """Writes the times to a run from now on, in addition to those that it has already."""
        self._folder = folder
        with contextlib.suppress(DmlError):  # damaged: what was counted is lost
            for name, seconds in times_of(folder).items():
                self.seconds[name] = self.seconds.get(name, 0.0) + seconds

    @contextlib.contextmanager
    def of(self, name: StageName) -> Iterator[None]:
        """Counts the time in a `with` block, however it ends, for a stage."""
        self._count()
        self._running.append(name)
        try:
            yield
        finally:
            self._count()
            self._running.pop()
            if self._folder is not None:
                times = {name: round(seconds, 2) for name, seconds in self.seconds.items()}
                self._folder.write_json(self._folder.times, times)

    def _count(self):
        """Adds the time since the last call to the innermost stage."""
        now = self._clock()
        if self._running:
            name = self._running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


def times_of(folder: RunFolder) -> dict[str, float]:
    """Returns the seconds of each stage of a run so far; empty if none is known.

    Raises:
        DataError: The file is damaged.
    """
    return folder.read_json(folder.times, _SHAPE) if folder.times.exists() else {}
