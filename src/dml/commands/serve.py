"""`dml serve`: an index over HTTP, with a page to search it."""

import argparse
import os
from pathlib import Path

from dml._console.runtime import Runtime
from dml.commands._arguments import INDEX, add_bundle
from dml.commands._command import Command
from dml.errors import DataError, MissingDataError
from dml.reporting import Reporter


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", metavar="INDEX", help=INDEX)
    add_bundle(parser)
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parser.add_argument("--port", type=int, default=8000, help="default: 8000; 0: any free port")
    parser.add_argument(
        "--token-file",
        metavar="FILE",
        help="file that holds the token of requests (default: the token in DML_TOKEN)",
    )


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    from dml.serve import run_server

    run_server(
        options.index,
        host=options.host,
        port=options.port,
        token=read_token(options.token_file),
        bundle=options.bundle,
        reporter=reporter,
    )


def read_token(file: str | None) -> str | None:
    """Returns the token in a file or in `DML_TOKEN`; None if neither is given."""
    if file is None:
        return os.environ.get("DML_TOKEN") or None
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        raise MissingDataError(file, "no such file") from None
    except UnicodeDecodeError:
        raise DataError(file, "not text in UTF-8") from None
    if not token:
        raise DataError(file, "contains no token")
    return token


COMMAND = Command(
    "serve",
    "serve an index over HTTP, with a page to search it",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
)
