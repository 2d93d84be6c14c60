"""`dml demo`: the whole workflow on the built-in data set, from training to a search page."""

import argparse
import subprocess
import sys

from dml._console.runtime import Runtime
from dml.commands._command import Command
from dml.errors import DataError
from dml.reporting import SILENT, Reporter


def demo(out: str | None = None, page: bool = True, reporter: Reporter = SILENT) -> None:
    """Trains, evaluates and reports on `glyphs`, indexes its test images and opens the page.

    Args:
        out: The run's folder; by default a new one, `runs/demo`. The index is `index` in it.
        page: Whether to serve the page until interrupted; otherwise the command is printed.
        reporter: Receives lines of text and progress.
    """
    from dml.index import index_images
    from dml.recipe import load_recipe
    from dml.runs import Trainer
    from dml.serve import run_server

    run = Trainer(load_recipe("glyphs"), reporter).run(out, "demo")
    bundle = exported(run)
    images = run.evaluation().path / "items.parquet"
    index_images(bundle, [images], run.index, reporter=reporter)
    reporter.info(f"report: {run.report.resolve().as_uri()}")
    if page:
        run_server(run.index, port=0, open_browser=True, reporter=reporter)
    else:
        reporter.info(f"search: dml serve {run.index}")


def exported(run):
    """Returns the bundle of a run, exported by TensorFlow whatever backend it was trained on."""
    from keras import config

    if config.backend() == "tensorflow":
        return run.export().path
    command = [sys.executable, "-m", "dml", "--backend", "tensorflow", "export", run.path]
    if subprocess.run(command).returncode:
        raise DataError(run.path, "can't be exported: the reason is above")
    return run.path / "bundle"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/demo)")
    parser.add_argument("--no-page", action="store_true", help="stop when the index is built")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    demo(options.out, not options.no_page, reporter)


COMMAND = Command(
    "demo",
    "train, evaluate, index and open a search page, on the built-in data set",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
)
