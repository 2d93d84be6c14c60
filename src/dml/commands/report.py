"""`dml report`: rewrites the report of an evaluation from its files."""

import argparse

from dml._console.runtime import Runtime
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.reporting import Reporter

_EPILOG = "Options of the evaluation are flags, too: --evaluation.tensorboard true."


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--on", metavar="DATASET", help="data set of the evaluation (default: the run's own)"
    )
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.runs import Run

    run = Run(options.run, options.allow_parts, reporter)
    reporter.info(f"report: {run.rewrite_report(options.on, options.flags)}")


COMMAND = Command(
    "report",
    "rewrite the report of an evaluation from its files",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
)
