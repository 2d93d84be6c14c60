"""Tables in text."""

import io
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence


def table_lines(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Yields the lines of a table; on a terminal, its last column is wrapped.

    Args:
        columns: Their titles. All but the last are aligned on the right.
        rows: A cell for each column.
    """
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for title in columns[:-1]:
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column(columns[-1], overflow="fold")
    for row in rows:
        table.add_row(*(" ".join(cell.split()) for cell in row))
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10**6
    text = io.StringIO()
    Console(file=text, width=width, color_system=None, markup=False, emoji=False).print(table)
    yield from (line.rstrip() for line in text.getvalue().splitlines())
