"""Bars for what takes a while."""

import contextlib
import sys
import time
from datetime import timedelta

FIRST, EVERY = (
    60,
    600,
)  # seconds until the first line and between others, where there is no terminal
WINDOW = 300  # seconds over which the speed of a training is taken


@contextlib.contextmanager
def progress(title, total):
    """Yields what to call with the number of items done since its last call.

    Shows a bar with the time that remains on the error stream, if that is a terminal, and takes
    it away at the end.

    Args:
        title: What is done.
        total: Items.
    """
    if not sys.stderr.isatty():
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=sys.stderr), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda count: bar.advance(task, count)


class TrainingProgress:
    """How far an epoch and the whole training are, with images a second and the time left.

    Two bars on the error stream, if that is a terminal, which are away between two epochs;
    otherwise a line now and then. As a context it takes its bars away, whatever ends it.

    Args:
        epochs: Of the whole training.
        steps: Batches in an epoch.
        size: Images in a batch.
        done: Epochs that an earlier training has done.
        report: Called with each line of text for the user.
        clock: Returns seconds.
    """

    def __init__(self, epochs, steps, size, done, report, clock=time.monotonic):
        from rich import progress as rich
        from rich.console import Console
        from rich.text import Text

        class ImagesPerSecond(rich.ProgressColumn):
            def render(self, task):
                return Text(speed_text(task))

        self.epochs, self.steps, self.size = epochs, steps, size
        self.report, self.clock = report, clock
        self.shown = sys.stderr.isatty()
        self.line_due = clock() + FIRST
        self.bars = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(),
            rich.TaskProgressColumn(),
            ImagesPerSecond(),
            rich.TimeRemainingColumn(),
            console=Console(file=sys.stderr),
            transient=True,
            redirect_stdout=False,
            speed_estimate_period=WINDOW,
            get_time=clock,
        )
        images = steps * size
        self.epoch = self.bars.add_task("", total=images)
        self.whole = self.bars.add_task("training", total=epochs * images, completed=done * images)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.on_epoch_end(None)

    def on_epoch_begin(self, epoch, logs=None):
        """Shows the bars of an epoch, from 0."""
        self.number = epoch
        title = f"epoch {epoch + 1}/{self.epochs}"
        self.bars.reset(self.epoch, description=title)
        if self.shown:
            self.bars.start()

    def on_batch_end(self, batch, logs=None):
        """Takes note of a finished batch, from 0."""
        images = (batch + 1) * self.size
        self.bars.update(self.epoch, completed=images)
        before = self.number * self.steps * self.size
        self.bars.update(self.whole, completed=before + images)
        if not self.shown and self.clock() >= self.line_due:
            self.line_due = self.clock() + EVERY
            self.report(self.line(batch + 1))

    def on_epoch_end(self, epoch, logs=None):
        """Takes the bars away, so that lines can be printed."""
        if self.shown:
            self.bars.stop()

    def line(self, steps):
        """Returns how far it is as a line of text."""
        epoch, whole = (self.bars.tasks[task] for task in (self.epoch, self.whole))
        text = f"{epoch.description}: {steps:,} of {self.steps:,} batches"
        if epoch.time_remaining is None or whole.time_remaining is None:
            return text
        return (
            f"{text}, {speed_text(epoch)}, left {timedelta(seconds=int(epoch.time_remaining))} of "
            f"the epoch, {timedelta(seconds=int(whole.time_remaining))} of the training"
        )


def speed_text(task):
    """Returns the images a second of a task of rich; nothing before they are known."""
    speed = task.finished_speed or task.speed
    return f"{speed:,.{0 if speed >= 10 else 1}f} images/s" if speed else ""
