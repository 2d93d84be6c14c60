"""A reporter that keeps what it is given."""

import contextlib

from dml.reporting import Reporter


class Lines(Reporter):
    """Keeps lines of information and warnings, and how far progress got.

    Attributes:
        lines: All of them, in order.
        warnings: The warnings alone.
        done: {title: (units done, total)} of each progress.
    """

    def __init__(self):
        self.lines = []
        self.warnings = []
        self.done = {}

    def info(self, text):
        self.lines.append(text)

    def warning(self, text):
        self.lines.append(text)
        self.warnings.append(text)

    @contextlib.contextmanager
    def progress(self, title, total, unit="images", done=0):
        self.done[title] = done, total

        def advance(count):
            self.done[title] = self.done[title][0] + count, total

        yield advance
