"""`dml demo`: `dml run` on the built-in data set."""

import argparse

from dml._console.runtime import Runtime
from dml.commands._command import Command
from dml.reporting import Reporter


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out", metavar="DIR", default="runs/demo", help="the run's folder (default: runs/demo)"
    )
    parser.add_argument("--no-page", action="store_true", help="stop before the search page")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.runs import Workflow

    if not options.no_page:
        from dml.serve import run_server  # noqa: F401 # a missing package is named before the training

    workflow = Workflow("glyphs", options.out, reporter=reporter)
    workflow.run()
    if not options.no_page:
        workflow.serve()


COMMAND = Command(
    "demo",
    "the same as `dml run glyphs --serve`: the built-in data set, in a few minutes",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
    after_interrupt="the same command continues where it stopped",
)
