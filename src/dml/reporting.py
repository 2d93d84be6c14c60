"""What long work tells while it runs: a line of text, or how far it is."""

import contextlib
from collections.abc import Callable, Iterator


class TrainingProgress(contextlib.AbstractContextManager):
    """How far a training is; this one shows nothing. As a context it clears what it shows."""

    def __exit__(self, *error):
        self.epoch_ended()

    def epoch_began(self, epoch: int):
        """Called with the number of an epoch, from 0, before its first batch."""

    def batch_ended(self, batch: int):
        """Called with the number of a batch, from 0 in each epoch, when it is done."""

    def epoch_ended(self):
        """Called after the last batch of an epoch, before anything is printed."""


class Reporter:
    """Takes what long work tells; this one is silent, subclasses show it."""

    def info(self, text: str):
        """Takes a line for the user: a result, or what was decided."""

    def warning(self, text: str):
        """Takes a line on what the user may want to mend."""

    @contextlib.contextmanager
    def progress(
        self, title: str, total: int, unit: str = "images", done: int = 0
    ) -> Iterator[Callable[[int], None]]:
        """Yields a function to call with the number of units done since its last call.

        Args:
            title: What is done, such as "embedding".
            total: Units in all.
            unit: What is counted.
            done: Units that an earlier attempt has done.
        """
        yield lambda count: None

    def training(self, epochs: int, steps: int, batch_size: int, done: int) -> TrainingProgress:
        """Returns what shows how far a training is.

        Args:
            epochs: Of the whole training.
            steps: Batches in an epoch.
            batch_size: Images in a batch.
            done: Epochs that an earlier attempt has done.
        """
        return TrainingProgress()


SILENT = Reporter()
