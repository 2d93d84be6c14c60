"""Joining a Ray cluster, or starting one on this machine."""

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from dml.errors import OptionError, StorageError

_STARTS = 3  # attempts: a Ray node sometimes does not start within its 30 seconds


def check_not_client() -> None:
    """Raises an OptionError for an address of Ray Client, which can't stream what workers print."""
    if (address := os.environ.get("RAY_ADDRESS", "")).startswith("ray://"):
        raise OptionError(
            "RAY_ADDRESS", f"must be HOST:PORT of the cluster (port 6379); got {address}"
        )


@contextlib.contextmanager
def joined_cluster() -> Iterator[Any]:
    """Yields the module `ray`, joined to the cluster of RAY_ADDRESS.

    Without RAY_ADDRESS, a cluster is started on this machine and stopped at the end.

    Raises:
        StorageError: The cluster does not answer, or none could be started here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    started = not ray.is_initialized()
    if started:
        _join_or_start(ray)
    try:
        with _silent():
            yield ray
    finally:
        if started:
            ray.shutdown()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """Hides what Ray prints at any level of logging: of a lost machine, the end of its log."""
    from ray._private import worker

    printing = worker.print_to_stdstream
    worker.print_to_stdstream = lambda *_, **__: None
    try:
        yield
    finally:
        worker.print_to_stdstream = printing


def _join_or_start(ray):
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get("RAY_ADDRESS"):
        _check_listens(address)
        try:
            ray.init(**quiet)
        except Exception as error:  # Ray has no exception class for it
            raise StorageError(f"RAY_ADDRESS {address} can't be joined: {error}") from error
        return
    for attempt in range(1, _STARTS + 1):
        try:
            ray.init("local", **quiet, include_dashboard=False)
            return
        except Exception as error:
            ray.shutdown()
            if attempt == _STARTS:
                raise StorageError(f"Ray did not start on this machine: {error}") from error


def _check_listens(address):
    """Raises StorageError unless an address accepts connections: Ray would retry for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # `auto` and the like
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise StorageError(f"no Ray cluster answers at RAY_ADDRESS {address}: {error}") from error
