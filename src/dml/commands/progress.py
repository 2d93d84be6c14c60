"""A bar for what takes a while."""

import contextlib
import sys


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
