"""The server: one process that listens until it is stopped."""

import contextlib
import gc
import ipaddress
import os
import resource
import socket
import sys
import webbrowser
from collections.abc import Iterator

import uvicorn

from dml._options import check_within
from dml.errors import OptionError, StorageError
from dml.reporting import SILENT, Reporter
from dml.serve._limits import ImpatientProtocol
from dml.serve.app import create_app
from dml.serve.options import ServiceOptions

_LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")
_MAX_CONNECTIONS = 2000
_SWITCH_INTERVAL = 0.0005  # seconds after which a waiting thread gets the interpreter
_SHUTDOWN_TIMEOUT = 10  # seconds that pending requests have after the service is stopped


def run_server(
    location: str | os.PathLike[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    token: str | None = None,
    bundle: str | os.PathLike[str] | None = None,
    open_browser: bool = False,
    reporter: Reporter = SILENT,
) -> None:
    """Serves an index until it is stopped by SIGINT or SIGTERM.

    Args:
        location: The index, as `dml.index.open_index` takes it.
        host: Address to bind to. An address that other machines can reach requires a token.
        port: Port to bind to; 0 for any free one.
        token: Bearer token that requests must present; None for no authentication.
        bundle: The encoder's bundle; by default the index's own, which Milvus does not have.
        open_browser: Opens the page in a browser, if there is a display.
        reporter: Receives the address.

    Raises:
        OptionError: A token is required, or an option is out of range.
        DataError: The index is missing or damaged.
        StorageError: The address can't be bound.

    Example:
        >>> dml.serve.run_server("photos.index", port=8000)  # doctest: +SKIP
    """
    local = _is_loopback(host)
    if not local and not token:
        raise OptionError(
            "host",
            f"{host} can be reached by other machines, which requires a token: put a long random "
            "token into the environment variable DML_TOKEN, or into a file for --token-file",
        )
    if token and not (token.isascii() and token.isprintable()):  # which headers can contain
        raise OptionError("token", "must consist of printable ASCII characters")
    check_within(0, 65535, port=port)
    shown = f"[{host}]" if ":" in host else host
    # A page that rebinds a name to this machine has no token; a proxy may keep its Host header.
    hosts = None if token else (*_LOOPBACK_HOSTS, shown)
    options = ServiceOptions(token=token or None, allowed_hosts=hosts)
    with contextlib.ExitStack() as process:
        process.enter_context(_openmp_threads(options.threads_per_batch))
        app = create_app(location, options, bundle)
        bound = process.enter_context(_bind(host, port))
        process.enter_context(_open_files(2 * _MAX_CONNECTIONS))
        address = f"http://{shown}:{bound.getsockname()[1]}/"
        reporter.info(f"{address} (Ctrl-C stops it)")
        if open_browser and _has_display():
            webbrowser.open(address)
        process.enter_context(_low_latency())
        config = uvicorn.Config(
            app,
            http=ImpatientProtocol,
            log_level="error",
            access_log=False,  # queries and tokens stay out of logs
            server_header=False,
            proxy_headers=False,  # clients could forge them
            limit_concurrency=_MAX_CONNECTIONS,
            timeout_keep_alive=15,
            timeout_graceful_shutdown=_SHUTDOWN_TIMEOUT,
        )
        with contextlib.suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[bound])
    reporter.info("stopped")


def _bind(host, port):
    """Returns a listening socket."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        reason = (error.strerror or str(error)).partition(" (while")[0]
        raise StorageError(f"can't listen on {host} port {port}: {reason}") from None


def _is_loopback(host):
    """Returns whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _has_display():
    """Returns whether a browser could show a page."""
    named = os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    return bool(named) or sys.platform in ("darwin", "win32")


@contextlib.contextmanager
def _openmp_threads(count: int) -> Iterator[None]:
    """Makes FAISS use as many threads as the encoder, without spinning between searches.

    OpenMP reads its settings when it is loaded; those that the user has set take precedence.
    """
    added = {"OMP_NUM_THREADS": str(count), "OMP_WAIT_POLICY": "PASSIVE"}
    added = {name: value for name, value in added.items() if name not in os.environ}
    os.environ.update(added)
    try:
        yield
    finally:
        for name in added:
            os.environ.pop(name, None)


@contextlib.contextmanager
def _low_latency() -> Iterator[None]:
    """Makes waiting threads resume soon, and the garbage collector ignore all existing objects."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_INTERVAL)
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()
        sys.setswitchinterval(interval)


@contextlib.contextmanager
def _open_files(count: int) -> Iterator[None]:
    """Raises this process's limit of open files to a count, if it is lower and may be raised."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if limit <= soft:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
