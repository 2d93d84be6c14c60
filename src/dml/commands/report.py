"""`dml report`: the page of an evaluation, written again."""

import argparse

from dml._console.runtime import Runtime
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.reporting import Reporter


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN")
    parser.add_argument("--on", metavar="DATASET", help="default: the run's own")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.commands.evaluate import rebuild

    rebuild(options.run, options.on, options.flags, options.allow_parts, report=reporter.info)


COMMAND = Command(
    "report",
    "write the page of an evaluation again, from the files it left",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
    takes_flags=True,
)
