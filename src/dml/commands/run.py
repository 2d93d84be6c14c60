"""`dml run`: the whole way from a folder of images to a search page."""

import argparse

from dml._console.runtime import Runtime
from dml._durations import seconds_of
from dml.commands._arguments import add_budget, naming_budget
from dml.commands._command import Command
from dml.reporting import Reporter

_EPILOG = """examples:
  dml run my_images/ --plan                what it would do, and how long that takes
  dml run my_images/ --budget 20m --serve
  dml run my_images/ --backbone.name resnet50

The same command again continues where the last one stopped. Every option of a recipe is a flag,
too: --section.option value, as for `dml train`."""


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "source",
        metavar="FOLDER",
        help="a folder of class folders, a table, shards, a data set or a recipe",
    )
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/NAME)")
    add_budget(parser)
    parser.add_argument("--serve", action="store_true", help="open the search page at the end")
    parser.add_argument("--plan", action="store_true", help="print the plan, and write nothing")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.runs import Workflow

    if options.serve:
        from dml.serve import run_server  # noqa: F401 # a missing package is named before the training

    budget = None if options.budget is None else seconds_of(options.budget, "--budget")
    workflow = Workflow(options.source, options.out, budget, options.flags, reporter)
    with naming_budget():
        if options.plan:
            workflow.plan()
            return
        workflow.run()
    if options.serve:
        workflow.serve()


COMMAND = Command(
    "run",
    "train on a folder of images, evaluate, and build a search page",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
    after_interrupt="the same command continues where it stopped",
    less_memory="smaller batches, a smaller backbone.input_size or training.chunks need less",
)
