"""Tables: one line for each row, except on a terminal."""

import os

from dml._console.table import table_lines

ROWS = [["0", "75.0", "loss [circle], margin 0.25"], ["10", "", "the recipe's\town options"]]


def test_each_row_is_a_line_however_long():
    rows = [*ROWS, ["11", "1.0", "x" * 500]]
    assert list(table_lines(["trial", "R@1", "options"], rows)) == [
        "trial   R@1  options",
        "    0  75.0  loss [circle], margin 0.25",
        "   10        the recipe's own options",
        f"   11   1.0  {'x' * 500}",
    ]


def test_a_terminal_wraps_the_last_column(monkeypatch):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setattr("shutil.get_terminal_size", lambda: os.terminal_size((30, 9)))
    assert list(table_lines(["trial", "R@1", "options"], ROWS[:1])) == [
        "trial   R@1  options",
        "    0  75.0  loss [circle],",
        "             margin 0.25",
    ]
