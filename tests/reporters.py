"""A reporter that records everything it receives."""

import contextlib

from dml.reporting import Reporter


class Lines(list, Reporter):
    """The lines of information and warnings, in order.

    Attributes:
        warnings: The warnings alone.
        done: {title: (units done, total)} of each progress.
    """

    def __init__(self):
        self.warnings = []
        self.done = {}

    @contextlib.contextmanager
    def progress(self, title, total, unit="images", done=0):
        self.done[title] = done, total

        def advance(count):
            self.done[title] = self.done[title][0] + count, total

        yield advance

    def info(self, text):
        self.append(text)

    def warning(self, text):
        self.append(text)
        self.warnings.append(text)
