"""`dml demo`: the whole way on the embedded data set, from training to a page to search in."""

import argparse
import subprocess
import sys
from pathlib import Path

from dml._console.runtime import Runtime
from dml.commands._command import Command
from dml.commands.export import export
from dml.commands.train import free_folder, train
from dml.reporting import SILENT, Reporter


def demo(out=None, page=True, reporter=SILENT):
    """Trains, evaluates and reports on `glyphs`, indexes its test images and opens the page.

    Args:
        out: The run's folder; by default a new one, `runs/demo`. The index is `index` in it.
        page: Serves the page until it is stopped; otherwise says how to.
        reporter: Receives text for the user.
    """
    from dml.index import index_images
    from dml.serve import run_server

    report = reporter.info
    folder = train("glyphs", out=out or free_folder(Path("runs"), "demo"), report=report)
    bundle = exported(folder, report)
    images = folder.evaluation("glyphs") / "items.parquet"
    index_images(bundle, [images], folder.index, reporter=reporter)
    report(f"report: {folder.report.resolve().as_uri()}")
    if page:
        run_server(folder.index, port=0, open_browser=True, reporter=reporter)
    else:
        report(f"search: dml serve {folder.index}")


def exported(folder, report):
    """Returns the bundle of a run, exported by TensorFlow, whatever the run was trained on."""
    from keras import config

    if config.backend() == "tensorflow":
        return export(folder.path, report=report)
    command = [sys.executable, "-m", "dml.cli", "--backend", "tensorflow", "export", folder.path]
    if subprocess.run(command).returncode:
        raise ValueError(f"{folder.path} can't be exported: the reason is above")
    return folder.path / "bundle"


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", metavar="DIR", help="the run's folder (default: runs/demo)")
    parser.add_argument("--no-page", action="store_true", help="stop when the index is built")


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    demo(options.out, not options.no_page, reporter)


COMMAND = Command(
    "demo",
    "from training to a page to search in, on the embedded data set",
    _add_arguments,
    _run,
    runtime=Runtime.KERAS,
)
