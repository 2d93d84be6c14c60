"""The index that a service searches, reloaded when it changes on disk."""

import asyncio
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from dml.encoding.onnx_encoder import OnnxEncoder
from dml.images._resizing import square
from dml.index import Index, open_index
from dml.index._filters import check_filter

HIDDEN_FIELDS = ("path",)  # not part of responses, and not allowed in filters
CHECK_SECONDS = 2.0  # between checks whether the index has changed
MAX_CHECK_SECONDS = 60.0  # between attempts to reload one that fails
LOG = logging.getLogger("dml.serve")


@dataclass(frozen=True, eq=False)
class Snapshot:
    """An index and the encoder that it was built with; each response uses one snapshot.

    Args:
        index: `dml.index.Index`.
        encoder: `OnnxEncoder`.
    """

    index: Index
    encoder: OnnxEncoder

    @property
    def threshold(self) -> float | None:
        """Lowest similarity of two images that count as the same; None without calibration."""
        if not self.encoder.thresholds:
            return None
        return self.encoder.calibrated_threshold().similarity

    @property
    def prepare(self) -> Callable[[np.ndarray], np.ndarray]:
        """Function from an image to the square that the encoder takes."""
        wanted = self.encoder.preparation
        return partial(square, side=wanted.resize_side, aspect=wanted.aspect)

    @property
    def fields(self) -> list[str]:
        """Names of the items' fields that responses contain."""
        return [name for name in self.index.fields if name not in HIDDEN_FIELDS]

    def check_filter(self, where: str | None) -> None:
        """Raises ValueError if a filter is invalid or uses a field that responses lack."""
        if where is not None:
            check_filter(where, self.fields)

    def crop(self, image: np.ndarray) -> np.ndarray:
        """Returns the part of a prepared image that the network sees."""
        wanted = self.encoder.preparation
        first = (wanted.resize_side - wanted.input_size) // 2
        last = first + wanted.input_size
        return image[first:last, first:last]


class IndexHolder:
    """Holds the current snapshot of an index and replaces it when the index changes on disk.

    When reloading fails, the current snapshot stays in use, and reloading is retried at increasing
    intervals.

    Args:
        location: As `dml.index.open_index` takes it.
        bundle: The encoder's bundle; None for the index's own.
        threads: Processors that one call of the encoder uses; all if None.

    Attributes:
        snapshot: The current `Snapshot`.
        count: Items in it.
        error: Why the last attempt to reload failed; None if it succeeded.
    """

    def __init__(
        self,
        location: str | os.PathLike[str],
        bundle: str | os.PathLike[str] | None = None,
        threads: int | None = None,
    ):
        self._bundle = bundle
        self._threads = threads
        index = open_index(location)
        self.snapshot = Snapshot(index, index.encoder(bundle, threads))
        self.count = len(index)
        self.error: str | None = None

    async def watch(self) -> None:
        """Reloads the index whenever it has changed, until cancelled."""
        pause = CHECK_SECONDS
        while True:
            await asyncio.sleep(pause)
            await asyncio.to_thread(self._try_reload)
            pause = CHECK_SECONDS if self.error is None else min(2 * pause, MAX_CHECK_SECONDS)

    def reload_if_changed(self) -> None:
        """Reloads the index if it has changed, and its encoder if that has changed too.

        Raises:
            Exception: Reloading failed; the current snapshot stays in use.
        """
        index, encoder = self.snapshot.index.reload_if_changed(), self.snapshot.encoder
        if index is not None:
            if index.encoder_sha256 != encoder.sha256 or encoder.is_replaced():
                encoder = index.encoder(self._bundle, self._threads)
            self.snapshot = Snapshot(index, encoder)
        self.count = len(self.snapshot.index)

    def _try_reload(self) -> None:
        """Reloads and records whether that failed; runs in a thread of its own."""
        try:
            self.reload_if_changed()
        except BaseException as error:  # extension modules may raise non-Exceptions
            text = f"{type(error).__name__}: {error}"
            if text != self.error:
                LOG.error("dml: reloading the index failed, the loaded one stays in use: %s", text)
            self.error = text
        else:
            if self.error is not None:
                LOG.warning("dml: the index has been reloaded")
            self.error = None
