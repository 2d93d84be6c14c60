"""Makes the tables of docs/*.md again, each with the command above it: `make results`.

    python tools/results.py [--list] [WORD ...]

With words, only the tables whose command contains one of them. A table stands below a line such as
`<!-- table: make bench-intervals -->` and becomes the last table that this command prints. Its page
is written after each, so that the tool can be stopped at any time. What is in benchmarks/measured
is not trained again, and what was interrupted goes on (runs/ keeps it).
"""

import argparse
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dml._storage.atomic import write_text

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))
MARK = re.compile(r"<!-- table: (.+) -->")


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Args:
        command: What prints it.
        first: Its first line's number, from 0.
        end: The number of the line after it.
    """

    command: str
    first: int
    end: int


def tables_of(lines: list[str]) -> list[Table]:
    """Returns the tables of a page that have a command."""
    found = []
    for number, line in enumerate(lines):
        if match := MARK.fullmatch(line):
            first = number + 1
            while first < len(lines) and not lines[first]:
                first += 1
            end = first
            while end < len(lines) and lines[end].startswith("|"):
                end += 1
            found.append(Table(match[1], first, end))
    return found


def last_table(printed: str) -> list[str]:
    """Returns the lines of the last table in what a command has printed; empty without one."""
    found = re.findall(r"(?m)^(?:\|.*\n)+", printed + "\n")
    return found[-1].splitlines() if found else []


def make(page: Path, table: Table, number: int) -> str:
    """Runs the command of a page's table, writes its result and returns what went wrong, if so."""
    print(table.command, flush=True)
    start, printed = time.monotonic(), []
    with subprocess.Popen(
        ["bash", "-c", table.command], cwd=ROOT, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            printed.append(line)
    if process.returncode:
        return f"exit code {process.returncode}: {table.command}"
    if not (rows := last_table("".join(printed))):
        return f"no table was printed by {table.command}"
    lines = page.read_text(encoding="utf-8").split("\n")  # edited since then, perhaps
    now = tables_of(lines)[number]
    lines[now.first : now.end] = rows if now.end > now.first else [*rows, ""]
    write_text(page, "\n".join(lines))
    print(f"{(time.monotonic() - start) / 60:.1f} minutes\n", flush=True)
    return ""


def main(arguments: list[str] | None = None, pages: Sequence[Path] = PAGES) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="WORD")
    parser.add_argument("--list", action="store_true", help="print the commands only")
    options = parser.parse_args(arguments)
    failed = []
    for page in pages:
        for number, table in enumerate(tables_of(page.read_text(encoding="utf-8").split("\n"))):
            if options.words and not any(word in table.command for word in options.words):
                continue
            if options.list:
                print(table.command)
            elif failure := make(page, table, number):
                failed.append(failure)
    for failure in failed:
        print(failure, file=sys.stderr)
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main())
