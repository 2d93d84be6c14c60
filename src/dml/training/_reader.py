"""The base of what makes training batches: rows by a sampler, and their labels."""

import abc
import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer
from dml._processes import own_part
from dml.images import ImageError
from dml.samplers import Sampler
from dml.samplers.base import Samples


class BatchReader(abc.ABC):
    """Creates a training batch from its number; called by several threads at once.

    Each of several processes that train together creates its share.

    Args:
        items: As in `training_batches`, like all of the arguments.
        sampler: A part of `dml.samplers`.
        seed: At least 0.
        class_vectors: Floats (classes, D) or None.
        samples: Whether to return the rows of the images.
        shape: The shape of an image, or of its features.
        dtype: The type of these.
        targets: Returns what takes the place of labels (B,); None for int32 labels.
    """

    def __init__(
        self,
        items: Samples,
        sampler: Sampler,
        seed: int,
        class_vectors: ArrayLike | None,
        samples: bool,
        shape: tuple[int, ...],
        dtype: str,
        targets: Callable[[np.ndarray], np.ndarray] | None = None,
    ):
        check_integer(0, seed=seed)
        self.labels = items.labels
        self.seed = seed
        self.samples = samples
        self.targets = targets or (lambda labels: labels.astype(np.int32))
        self.shape = shape
        self.dtype = dtype
        self.unreadable: dict[str, str] = {}
        self.error: ImageError | None = None
        self.lock = threading.Lock()
        # Two, because threads that read ahead cross from one epoch into the next.
        self._cached_rows = functools.lru_cache(maxsize=2)(
            lambda epoch: sampler.batches_of(items, epoch, seed, class_vectors)
        )
        self.steps_per_epoch = len(self.epoch_rows(0))
        self.own = own_part()

    def __call__(self, number: int) -> tuple[np.ndarray, Any]:
        """Returns the inputs (B, *shape) and the labels of this process's share of a batch."""
        epoch, step = divmod(number, self.steps_per_epoch)
        rows = self.epoch_rows(epoch)[step].copy()
        own = self.own(len(rows))
        inputs = self.inputs(rows, range(len(rows))[own], epoch, step)
        labels = self.targets(self.labels[rows])[own]
        if self.samples:
            return inputs, {"labels": labels, "samples": rows[own].astype(np.int32)}
        return inputs, labels

    @abc.abstractmethod
    def inputs(self, rows: np.ndarray, places: range, epoch: int, step: int) -> np.ndarray:
        """Returns what the model reads at some places of a batch, (places, *shape).

        Sets the rows that it replaces.
        """

    def epoch_rows(self, epoch: int) -> np.ndarray:
        """Returns the rows int64 (steps, B) of the items in an epoch's batches."""
        with self.lock:  # otherwise each thread would sample a new epoch
            return self._cached_rows(epoch)
