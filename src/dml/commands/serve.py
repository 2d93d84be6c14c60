"""`dml serve`: an index over HTTP, with a page to search it."""

import argparse
import contextlib
import gc
import ipaddress
import os
import resource
import socket
import sys
import webbrowser
from pathlib import Path

from dml._console.runtime import Runtime
from dml.commands._arguments import INDEX, add_bundle
from dml.commands._command import Command
from dml.reporting import Reporter

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
CONNECTIONS = 2000
SWITCH = 0.0005  # seconds that a thread back from its computing waits for the interpreter
PATIENCE = 10  # seconds that requests under way have when the service is stopped


def serve(
    path, host="127.0.0.1", port=8000, token_file=None, bundle=None, browser=False, report=print
):
    """Serves an index until it is stopped.

    Args:
        path: The index, as `dml.index.open_index` takes it.
        host: Address to bind to. Another than this machine's own needs a token.
        port: 0 takes any that is free.
        token_file: A file whose first line is the token; by default the variable `DML_TOKEN`.
        bundle: The encoder's; by default the index's own, which Milvus has not.
        browser: Opens the page, where there is a screen.
        report: Called with each line of text for the user.

    Raises:
        ValueError: There is no token where one is needed, or the index is damaged.
        OSError: The address is taken or not this machine's, or the index is missing.
    """
    import uvicorn

    from dml.serve.app import ServiceOptions, create_app
    from dml.serve.limits import ImpatientProtocol

    token = read_token(token_file)
    local = is_loopback(host)
    if not local and not token:
        raise ValueError(
            f"serving on {host} lets others in: put a long random token into the variable "
            "DML_TOKEN, or into a file for --token-file"
        )
    if not 0 <= port <= 65535:
        raise ValueError(f"a port is a number from 0 to 65535; got {port}")
    shown = f"[{host}]" if ":" in host else host
    options = ServiceOptions(token=token, hosts=(*LOOPBACK, shown) if local else None)
    # OpenMP's threads of FAISS: as many as the encoder's, which do not spin between searches.
    os.environ.setdefault("OMP_NUM_THREADS", str(options.processors))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    app = create_app(path, options, bundle)
    try:
        bound = socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=512
        )
    except OSError as error:
        raise OSError(f"can't serve on {host} port {port}: {error.strerror}") from None
    allow_connections()
    address = f"http://{shown}:{bound.getsockname()[1]}/"
    report(f"{address} (Ctrl-C stops it)")
    if browser and has_screen():
        webbrowser.open(address)
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        log_level="error",
        access_log=False,  # queries and tokens stay out of logs
        server_header=False,
        proxy_headers=False,  # nobody's word is taken for where a request comes from
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=PATIENCE,
    )
    sys.setswitchinterval(SWITCH)
    gc.freeze()  # what is there now stays: collections need not look at it
    with bound, contextlib.suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[bound])
    report("stopped")


def has_screen():
    """Returns whether a browser would have one to show a page on."""
    named = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(named) or sys.platform in ("darwin", "win32")


def read_token(file):
    """Returns the token of a file or of `DML_TOKEN`; None where there is neither."""
    if file is None:
        return os.environ.get("DML_TOKEN") or None
    token = Path(file).read_text(encoding="utf-8").strip()
    if not token:
        raise ValueError(f"{file}: there is no token in it")
    return token


def is_loopback(host):
    """Returns whether an address is this machine's own."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allow_connections():
    """Lets this process open as many files as it may, where that is fewer than it serves."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * CONNECTIONS
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("index", metavar="INDEX", help=INDEX)
    add_bundle(parser)
    parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
    parser.add_argument("--port", type=int, default=8000, help="0: any that is free")
    parser.add_argument(
        "--token-file", metavar="FILE", help="what requests must bring (default: DML_TOKEN)"
    )


def _run(options: argparse.Namespace, reporter: Reporter) -> None:
    serve(
        options.index,
        options.host,
        options.port,
        options.token_file,
        options.bundle,
        report=reporter.info,
    )


COMMAND = Command(
    "serve",
    "serve an index over HTTP, with a page to search it",
    _add_arguments,
    _run,
    runtime=Runtime.ENCODER,
)
