"""`dml evaluate`: the metrics of a run on a test split, with their protocol and intervals."""

import argparse

from dml._console.runtime import Runtime
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.reporting import Reporter

_EPILOG = """Options of the evaluation are flags, too: --evaluation.target_precision 0.95.
With --on, so are those of the data set: --dataset.test_fraction 0.5."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    parser.add_argument(
        "--on",
        metavar="DATASET",
        help="a data set's name, a folder, a table or shards; evaluated as a whole unless it has a "
        "test split",
    )
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.runs import Run

    run = Run(options.run, options.allow_parts, reporter)
    evaluation = run.evaluate(options.on, options.flags)
    for line in evaluation.lines():
        reporter.info(line)
    reporter.info(f"report: {run.report if options.on is None else evaluation.report}")


COMMAND = Command(
    "evaluate",
    "evaluate a run on its test split, or on another data set",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
    after_interrupt="the same command continues after the last finished part of the search",
    less_memory="a smaller --evaluation.batch_size needs less",
)
