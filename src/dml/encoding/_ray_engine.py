"""Images embedded by a Ray cluster, part by part."""

import functools
import io
import logging
import os
import socket

import numpy as np

from dml.encoding.embed import embed_part
from dml.encoding.onnx_encoder import OnnxEncoder


def embed_parts(bundle, parts, batch_size=32, threads=2):
    """Embeds parts of a list of images on the machines of a Ray cluster.

    Joins the cluster that `RAY_ADDRESS` names, or starts one on this machine and stops it in the
    end. Every machine needs dml installed, and the bundle and the images under the same paths. A
    part whose machine is lost is embedded by another.

    Args:
        bundle: The bundle's folder.
        parts: Number -> paths as `dml.images.read_image` takes them.
        batch_size: Images embedded at once; positive.
        threads: Processors that a part takes; positive.

    Yields:
        The number of a part and what `embed_part` returns for it, in any order.

    Raises:
        OSError: The cluster does not answer, or none could be started here.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray
    from ray import data

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    started = not ray.is_initialized()
    if started:
        join_or_start(ray)
    try:
        context = data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False
        rows = [{"number": number, "paths": paths} for number, paths in parts.items()]
        work = functools.partial(
            embed_row, bundle=os.path.abspath(bundle), batch_size=batch_size, threads=threads
        )
        # One block, and so one task, for each part: a block is what Ray does again.
        done = data.from_items(rows, override_num_blocks=len(rows)).map(work, num_cpus=threads)
        for row in done.iter_rows():
            with np.load(io.BytesIO(row["arrays"])) as arrays:
                yield row["number"], tuple(arrays[name] for name in arrays.files)
    finally:
        if started:
            ray.shutdown()


def join_or_start(ray, tries=3):
    """Joins the cluster that `RAY_ADDRESS` names, or starts one on this machine.

    A node of Ray's now and then does not come up within its 30 seconds; then another is tried.
    """
    quiet = {"log_to_driver": False, "logging_level": "ERROR"}
    if address := os.environ.get("RAY_ADDRESS"):
        check_listens(address)
        ray.init(**quiet)
        return
    try:
        ray.init(**quiet, include_dashboard=False)
    except Exception as error:  # Ray raises no class of its own for it
        ray.shutdown()
        if tries == 1:
            raise OSError(f"Ray did not start on this machine: {error}") from error
        join_or_start(ray, tries - 1)


def check_listens(address):
    """Raises OSError unless something listens at a cluster's address; Ray tries for a long time."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        return  # `auto` and the like
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise OSError(f"no Ray cluster answers at RAY_ADDRESS {address}: {error}") from error


def embed_row(row, bundle, batch_size, threads):
    """Embeds the part that a row of Ray's holds; runs on one of its machines."""
    found = embed_part(opened(bundle), list(row["paths"]), batch_size, threads)
    buffer = io.BytesIO()
    np.savez(buffer, *found)
    return {"number": row["number"], "arrays": buffer.getvalue()}


@functools.lru_cache(maxsize=1)
def opened(bundle):
    """Returns the encoder of a bundle; opened once by each process."""
    return OnnxEncoder(bundle)
