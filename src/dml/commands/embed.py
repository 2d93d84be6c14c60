"""`dml embed`: the vectors of images by an exported encoder, in a Parquet file."""

import argparse

from dml._console.runtime import Runtime
from dml.commands._arguments import IMAGES
from dml.commands._command import Command
from dml.reporting import Reporter


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", metavar="BUNDLE", help="an encoder, as `dml export` writes it")
    parser.add_argument("images", metavar="IMAGES", nargs="+", help=IMAGES)
    parser.add_argument("--out", metavar="FILE.parquet", required=True)
    parser.add_argument(
        "--engine",
        default="local",
        choices=("local", "ray"),
        help="threads of this machine (default), or the Ray cluster that RAY_ADDRESS names",
    )


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.encoding._collection import embed_to_file
    from dml.encoding._engines import LocalEngine
    from dml.encoding._ray_engine import RayEngine

    engine = RayEngine() if options.engine == "ray" else LocalEngine()
    embed_to_file(options.bundle, options.images, options.out, engine, reporter)


COMMAND = Command(
    "embed",
    "write the vectors of images to a Parquet file; continues after an interruption",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
    after_interrupt="the same command continues from the last finished part",
)
