"""Embedding images on a Ray cluster, part by part."""

import functools
import io
import logging
import os
import pickle
from dataclasses import dataclass
from typing import Any

import numpy as np

from dml._ray import joined_cluster
from dml.encoding._engines import Engine, LocalEngine, PartVectors
from dml.encoding.onnx_encoder import OnnxEncoder
from dml.errors import DmlError


@dataclass(frozen=True)
class RayEngine(Engine):
    """Embeds on the machines of a Ray cluster.

    Joins the cluster that `RAY_ADDRESS` names, or starts one on this machine and stops it at the
    end. Every machine needs dml installed, and the bundle and the images under the same paths. If a
    machine fails, another one embeds its part.

    Args:
        batch_size: As for `Engine`.
        threads: Threads that read the images of a part, and processors that it uses; positive.
    """

    threads: int = 2

    def embed(self, encoder, parts, advance):
        """Yields the number and the result of each part, in any order.

        Raises:
            StorageError: The cluster does not answer, or none could be started here.
            DmlError: A part can't be embedded: the bundle is missing on one of the machines.
        """
        if not parts:
            return
        with joined_cluster():
            from ray import data

            logging.getLogger("ray.data").setLevel(logging.ERROR)
            context = data.DataContext.get_current()
            context.enable_progress_bars = context.print_on_execution_start = False
            rows = [{"number": number, "paths": list(paths)} for number, paths in parts.items()]
            embed_row = functools.partial(
                _embed_row,
                bundle=os.path.abspath(encoder.path),
                engine=LocalEngine(self.batch_size, self.threads),
            )
            # One block, and so one task, for each part: Ray repeats whole blocks.
            results = data.from_items(rows, override_num_blocks=len(rows)).map(
                embed_row, num_cpus=self.threads
            )
            for row in results.iter_rows():
                if row["error"]:
                    raise pickle.loads(row["error"])
                advance(len(parts[row["number"]]))
                yield row["number"], _unpacked(row["result"])


def _embed_row(row: dict[str, Any], bundle: str, engine: LocalEngine) -> dict[str, Any]:
    """Embeds the part in a row of a Ray data set; runs on a machine of the cluster.

    An error that the user can fix is returned: Ray would wrap it and lose its class.
    """
    result, error = b"", b""
    try:
        result = _packed(engine.embed_part(_encoder(bundle), list(row["paths"])))
    except DmlError as mendable:
        error = pickle.dumps(mendable)
    return {"number": row["number"], "result": result, "error": error}


@functools.lru_cache(maxsize=1)
def _encoder(bundle):
    """Returns the encoder of a bundle, opened once by each process."""
    return OnnxEncoder(bundle)


def _packed(part):
    rows = np.array(list(part.unreadable), "int64")
    reasons = np.array(list(part.unreadable.values()), str)
    buffer = io.BytesIO()
    np.savez(buffer, vectors=part.vectors, rows=rows, reasons=reasons)
    return buffer.getvalue()


def _unpacked(data):
    with np.load(io.BytesIO(data)) as arrays:
        unreadable = dict(zip(arrays["rows"].tolist(), arrays["reasons"].tolist(), strict=True))
        return PartVectors(arrays["vectors"], unreadable)
