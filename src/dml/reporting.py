"""Reporters, which receive messages and progress from long-running work."""

import contextlib
from collections.abc import Callable, Iterator


class TrainingProgress(contextlib.AbstractContextManager):
    """Shows the progress of a training until its context ends; this base class shows nothing."""

    def __exit__(self, *error):
        self.epoch_ended()

    def epoch_began(self, epoch: int):
        """Called with the number of an epoch, from 0, before its first batch."""

    def batch_ended(self, batch: int):
        """Called with the number of a batch, from 0 in each epoch, when it is done."""

    def epoch_ended(self):
        """Called after the last batch of an epoch, before anything is printed."""

    def paused(self) -> contextlib.AbstractContextManager:
        """Returns a context within an epoch, in which other things are printed."""
        return contextlib.nullcontext()


class Reporter:
    """Receives messages and progress from long-running work; this base class ignores them."""

    def info(self, text: str):
        """Receives a line for the user: a result or a decision."""

    def warning(self, text: str):
        """Receives a line on a problem that the user may want to fix."""

    @contextlib.contextmanager
    def progress(
        self, title: str, total: int, unit: str = "images", done: int = 0
    ) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the number of units done since its last call.

        Args:
            title: The work, such as "embedding".
            total: Units in all.
            unit: What is counted.
            done: Units completed by an earlier attempt.
        """
        yield lambda count: None

    def training(self, epochs: int, steps: int, batch_size: int, done: int) -> TrainingProgress:
        """Returns an object that shows the progress of a training.

        Args:
            epochs: The number of epochs of the whole training.
            steps: Batches in an epoch.
            batch_size: Images in a batch.
            done: Epochs completed by an earlier attempt.
        """
        return TrainingProgress()


SILENT = Reporter()
