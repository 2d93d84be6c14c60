"""The time of a training: waiting for data, steps and validation."""

import contextlib
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import grain


class Waiting:
    """Adds up how long a training waits for its batches.

    Args:
        clock: Returns seconds.

    Attributes:
        seconds: The sum.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self.seconds = 0.0
        self._clock = clock
        self._began = clock()
        self._read: deque[tuple[float, float]] = deque()  # from when to when

    def timed(self, batches: grain.IterDataset) -> grain.DatasetIterator:
        """Returns the batches; the thread that takes them waits until each is ready."""
        return _TimedIterator(iter(batches), self)

    def watched(self, batches: Iterable[Any]) -> Iterator[Any]:
        """Yields the batches to another thread, which keeps them ready for the steps.

        The training waits for one that gets ready after its step has begun. What a step does
        before the thread begins to read, as compiling it, is no waiting.
        """
        read = self._read = deque()
        began = self._clock()
        for batch in batches:
            read.append((began, self._clock()))
            yield batch
            began = self._clock()

    def step_began(self) -> None:
        """Called before each step."""
        self._began = self._clock()

    def step_ended(self) -> None:
        """Called after each step."""
        if self._read:
            began, ready = self._read.popleft()
            self.seconds += max(0.0, ready - max(began, self._began))

    @contextlib.contextmanager
    def counted(self) -> Iterator[None]:
        """Counts the time in a `with` block."""
        started = self._clock()
        try:
            yield
        finally:
            self.seconds += self._clock() - started


class _TimedIterator(grain.DatasetIterator):
    """Counts the time until each of an iterator's elements is there."""

    def __init__(self, batches: grain.DatasetIterator, waiting: Waiting):
        super().__init__(batches)
        self._batches = batches
        self._waiting = waiting

    def __next__(self):
        with self._waiting.counted():
            return next(self._batches)

    def get_state(self):
        return self._batches.get_state()

    def set_state(self, state):
        self._batches.set_state(state)


class Stopwatch:
    """Splits the time since the last row of a log.

    Args:
        batch_size: Images in a batch.
        clock: Returns seconds.

    Attributes:
        waiting: How long the training waits for its batches.
    """

    def __init__(self, batch_size: int, clock: Callable[[], float] = time.monotonic):
        self.waiting = Waiting(clock)
        self._batch_size = batch_size
        self._clock = clock
        self.restart()

    def restart(self) -> None:
        """Begins with the time of another row."""
        self._since = self._clock()
        self._waited = self.waiting.seconds
        self._validated = 0.0
        self._steps = 0

    def step_ended(self) -> None:
        """Called after each step."""
        self._steps += 1

    @contextlib.contextmanager
    def validating(self) -> Iterator[None]:
        """Counts the time in a `with` block for the validation."""
        started = self._clock()
        yield
        self._validated += self._clock() - started

    def row(self) -> dict[str, float]:
        """Returns the time until now by what it was spent on, and begins with that of another row.

        With images per second, if there were steps; without the time of a validation.
        """
        seconds, validated = self._clock() - self._since, self._validated
        waited = self.waiting.seconds - self._waited
        row = {"seconds": seconds}
        if self._steps:
            trained = seconds - validated
            row["waiting_seconds"] = waited
            row["step_seconds"] = trained - waited
            row["images_per_second"] = self._steps * self._batch_size / max(trained, 1e-9)
        if validated:
            row["validation_seconds"] = validated
        self.restart()
        return {name: round(value, 2) for name, value in row.items()}
