"""The reporter of the commands: lines of text, and progress bars on a terminal."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta

from dml._console.terminal import say, warn
from dml._text import number_of
from dml.reporting import Reporter, TrainingProgress

# Seconds until the first line of a training and between later ones, without a terminal.
_FIRST_LINE, _NEXT_LINE = 60, 600
_WINDOW = 300  # seconds over which the speed of a training is averaged


class ConsoleReporter(Reporter):
    """Prints lines on standard output, warnings and bars on standard error.

    Bars are shown on a terminal only, and removed when they are complete.

    Args:
        clock: Returns seconds.

    Example:
        >>> recipe = dml.load_recipe("glyphs")
        >>> trainer = dml.Trainer(recipe, dml.ConsoleReporter())  # prints what it does
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock

    def info(self, text: str) -> None:
        say(text)

    def warning(self, text: str) -> None:
        warn(text)

    @contextlib.contextmanager
    def progress(
        self, title: str, total: int, unit: str = "images", done: int = 0
    ) -> Iterator[Callable[[int], None]]:
        if not sys.stderr.isatty():
            yield lambda count: None
            return
        from rich import progress as rich
        from rich.console import Console

        bar = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.TextColumn("{task.completed:,}/{task.total:,} " + unit),
            rich.TaskProgressColumn(),
            rich.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        with bar:
            task = bar.add_task(title, total=total, completed=done)
            yield lambda count: bar.advance(task, count)

    def training(self, epochs: int, steps: int, batch_size: int, done: int) -> TrainingProgress:
        return TrainingBars(epochs, steps, batch_size, done, self.info, self._clock)


class TrainingBars(TrainingProgress):
    """Bars of an epoch and of the whole training, with images per second and the time left.

    On a terminal there are two bars, removed between epochs; elsewhere a line is printed now and
    then.

    Args:
        epochs: The number of epochs of the whole training.
        steps: Batches in an epoch.
        batch_size: Images in a batch.
        done: Epochs completed by an earlier attempt.
        info: Called with each line.
        clock: Returns seconds.
    """

    def __init__(
        self,
        epochs: int,
        steps: int,
        batch_size: int,
        done: int,
        info: Callable[[str], None],
        clock: Callable[[], float],
    ):
        from rich import progress as rich
        from rich.console import Console
        from rich.text import Text

        class ImagesPerSecond(rich.ProgressColumn):
            def render(self, task):
                return Text(_speed(task))

        self._epochs, self._steps, self._batch_size = epochs, steps, batch_size
        self._info, self._clock = info, clock
        self._on_terminal = sys.stderr.isatty()
        self._line_due = clock() + _FIRST_LINE
        self._number = done
        self._bars = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.TaskProgressColumn(),
            ImagesPerSecond(),
            rich.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=False,
            speed_estimate_period=_WINDOW,
            get_time=clock,
        )
        images = steps * batch_size
        self._epoch = self._bars.add_task("", total=images)
        self._whole = self._bars.add_task(
            "training", total=epochs * images, completed=done * images
        )

    def epoch_began(self, epoch: int) -> None:
        self._number = epoch
        self._bars.reset(self._epoch, description=f"epoch {epoch + 1}/{self._epochs}")
        if self._on_terminal:
            self._bars.start()

    def batch_ended(self, batch: int) -> None:
        images = (batch + 1) * self._batch_size
        self._bars.update(self._epoch, completed=images)
        before = self._number * self._steps * self._batch_size
        self._bars.update(self._whole, completed=before + images)
        if not self._on_terminal and self._clock() >= self._line_due:
            self._line_due = self._clock() + _NEXT_LINE
            self._info(self._line(batch + 1))

    def epoch_ended(self) -> None:
        if self._on_terminal:
            self._bars.stop()

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        self.epoch_ended()
        yield
        if self._on_terminal:
            self._bars.start()

    def _line(self, steps):
        epoch, whole = (self._bars.tasks[task] for task in (self._epoch, self._whole))
        text = f"{epoch.description}: {steps:,} of {number_of(self._steps, 'batch')}"
        if epoch.time_remaining is None or whole.time_remaining is None:
            return text
        return (
            f"{text}, {_speed(epoch)}, left {timedelta(seconds=int(epoch.time_remaining))} of "
            f"the epoch, {timedelta(seconds=int(whole.time_remaining))} of the training"
        )


def _speed(task):
    speed = task.finished_speed or task.speed
    return f"{speed:,.{0 if speed >= 10 else 1}f} images/s" if speed else ""  # unknown at first
