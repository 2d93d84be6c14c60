"""A reporter that keeps what it is given."""

import contextlib

from dml.reporting import Reporter


class Lines(Reporter):
    """Keeps lines, warnings, and how far each progress got: {title: (units done, total)}."""

    def __init__(self):
        self.lines = []
        self.warnings = []
        self.done = {}

    def info(self, text):
        self.lines.append(text)

    def warning(self, text):
        self.warnings.append(text)

    @contextlib.contextmanager
    def progress(self, title, total, unit="images", done=0):
        self.done[title] = done, total

        def advance(count):
            self.done[title] = self.done[title][0] + count, total

        yield advance
