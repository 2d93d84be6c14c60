"""The definition of a command, one in each module of `dml.commands`."""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

from dml._console.runtime import Runtime
from dml.reporting import Reporter


@dataclass(frozen=True)
class Command:
    """A command of `dml`, which `dml.cli` finds as `COMMAND` in a module of `dml.commands`.

    The module must not import anything heavy at its top: `dml --help` imports all of them.

    Args:
        name: What follows `dml` on the command line.
        summary: One line for `dml --help`.
        add_arguments: Adds the command's arguments to its parser.
        run: Called with the parsed arguments and a reporter. The arguments have `flags`, too: the
            `--section.option value` pairs as a flat list of strings.
        epilog: Shown verbatim below the arguments by `dml NAME --help`.
        runtime: The libraries that are loaded before `run` is called.
        takes_flags: Whether it takes `--section.option value`.
        after_interrupt: How to continue after Ctrl-C; empty if there is nothing to continue.
        less_memory: How to use less memory; empty if there is no way.
    """

    name: str
    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace, Reporter], None]
    epilog: str = ""
    runtime: Runtime = Runtime.NONE
    takes_flags: bool = False
    after_interrupt: str = ""
    less_memory: str = ""
