"""`dml export`: a run's encoder as a bundle for other runtimes, checked on real images."""

import argparse

from dml._console.runtime import Runtime
from dml._storage.bundle import ExportFormat
from dml.commands._arguments import add_allow_parts
from dml.commands._command import Command
from dml.reporting import Reporter

_EPILOG = "With --on, options of the data set are flags, too: --dataset.test_fraction 0.5."


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's folder")
    formats = [form.value for form in ExportFormat]
    parser.add_argument("--to", choices=formats, default="onnx", help="default: onnx")
    smaller = parser.add_mutually_exclusive_group()
    smaller.add_argument("--half", action="store_true", help="float16: half the size")
    smaller.add_argument("--int8", action="store_true", help="8-bit weights: a quarter of the size")
    parser.add_argument(
        "--out",
        metavar="DIR",
        help="the bundle's folder (default: RUN/bundle, RUN/bundle-half, RUN/bundle-litert, ...)",
    )
    parser.add_argument("--on", metavar="DATASET", help="images to check on (default: the run's)")
    add_allow_parts(parser)


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.encoding._formats import Precision
    from dml.runs import Run

    precision = Precision.FLOAT32
    if options.half or options.int8:
        precision = Precision.HALF if options.half else Precision.INT8
    written = Run(options.run, options.allow_parts, reporter).export(
        ExportFormat(options.to), precision, options.out, options.on, options.flags
    )
    reporter.info(f"bundle: {written.path} ({written.bytes / 2**20:.1f} MiB)")


COMMAND = Command(
    "export",
    "export a run's encoder as a bundle for other runtimes, and check it",
    _add_arguments,
    _run,
    epilog=_EPILOG,
    runtime=Runtime.KERAS,
    takes_flags=True,
)
