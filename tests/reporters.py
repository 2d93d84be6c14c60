"""A reporter that keeps what it is given."""

from dml.reporting import Reporter


class Lines(Reporter):
    """Keeps lines of information and warnings.

    Attributes:
        lines: All of them, in order.
        warnings: The warnings alone.
    """

    def __init__(self):
        self.lines = []
        self.warnings = []

    def info(self, text):
        self.lines.append(text)

    def warning(self, text):
        self.lines.append(text)
        self.warnings.append(text)
