"""The base class of samplers, their registry, and the coverage of a data set by an epoch."""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_interval
from dml._registry import Registry
from dml.errors import OptionError

SAMPLERS = Registry("sampler")


class Samples(Protocol):
    """The attributes of items that `Sampler.batches_of` needs; `dml.datasets.Items` has them."""

    @property
    def labels(self) -> np.ndarray: ...
    @property
    def super_labels(self) -> np.ndarray | None: ...
    @property
    def ids(self) -> np.ndarray | None: ...


class Sampler:
    """Chooses the rows of every batch of an epoch, as a pure function of labels, epoch and seed.

    Samplers are stateless, so a resumed training gets the same batches. Subclasses are frozen
    dataclasses whose fields are the options.

    A sampler that needs more than labels lists it in `wants`, and `batches` takes it as a keyword:
    `super_labels` (N,), `ids` (N,) or `class_vectors` (classes, D), None if it has none.
    """

    wants: ClassVar[tuple[str, ...]] = ()

    @property
    def batch_size(self) -> int:
        """Rows in each batch; the same in all of them."""
        raise NotImplementedError

    def batches(self, labels: ArrayLike, epoch: int, seed: int) -> np.ndarray:
        """Returns the rows of a whole epoch.

        Args:
            labels: Integers (N,): the class of each row.
            epoch: The number of the epoch, from 0. Batches differ between epochs, but not their
                number.
            seed: At least 0.

        Returns:
            Int64 (steps, batch_size), each in [0, N).

        Raises:
            OptionError: The rows can't fill such batches.
        """
        raise NotImplementedError

    def batches_of(
        self, items: Samples, epoch: int, seed: int, class_vectors: ArrayLike | None = None
    ) -> np.ndarray:
        """Returns the batches of items, passing on the attributes that this sampler needs.

        Args:
            items: The items, such as `dml.datasets.Items`.
            epoch: As in `batches`.
            seed: As in `batches`.
            class_vectors: Floats (classes, D): the position of each class; None before training.

        Returns:
            As `batches`.
        """
        known: dict[str, Any] = {
            "super_labels": items.super_labels,
            "ids": items.ids,
            "class_vectors": class_vectors,
        }
        extra = {name: known[name] for name in self.wants}
        return self.batches(items.labels, epoch=epoch, seed=seed, **extra)


def shard(batches: np.ndarray, index: int, count: int) -> np.ndarray:
    """Returns one process's part of every batch; together the parts are the batches.

    Args:
        batches: Integers (steps, batch_size), as `Sampler.batches` returns them.
        index: The number of the process, in [0, count).
        count: Number of processes; positive.

    Returns:
        Integers (steps, batch_size / count).

    Raises:
        OptionError: There is no such process, or the batch does not divide among them.

    Example:
        >>> dml.samplers.shard(np.array([[0, 1, 2, 3], [4, 5, 6, 7]]), index=1, count=2)
        array([[2, 3],
               [6, 7]])
    """
    size = batches.shape[1]
    check_interval(f"[0, {count})", index=index)
    if size % count:
        raise OptionError(
            "batch_size",
            f"must divide among {count} processes; got {size}: "
            f"make it {size - size % count or count} or {size + count - size % count}",
        )
    part = size // count
    return batches[:, index * part : (index + 1) * part]


@dataclass(frozen=True)
class Coverage:
    """The share of a data set that an epoch's batches contain.

    Args:
        classes: Share of the classes that occur. In [0, 1].
        images: Share of the images that occur. In [0, 1].
        copies: Share of the entries whose image occurs earlier in the same batch. In [0, 1).
    """

    classes: float
    images: float
    copies: float

    def __str__(self):
        text = f"{self.classes:.1%} of the classes and {self.images:.1%} of the images an epoch"
        return text + (f"; {self.copies:.1%} are copies within a batch" if self.copies else "")


def coverage(batches: ArrayLike, labels: ArrayLike) -> Coverage:
    """Measures which classes and images an epoch visits.

    Args:
        batches: Integers (steps, batch_size), as `Sampler.batches` returns them.
        labels: Integers (N,): the class of each row.

    Returns:
        A `Coverage`.

    Example:
        >>> print(dml.samplers.coverage([[0, 1], [1, 2]], labels=[0, 0, 1, 2]))
        66.7% of the classes and 75.0% of the images an epoch
    """
    labels, batches = np.asarray(labels), np.asarray(batches)
    seen = np.zeros(len(labels), bool)
    seen[batches] = True
    in_order = np.sort(batches, axis=1)
    copies = np.count_nonzero(in_order[:, 1:] == in_order[:, :-1])
    classes = len(np.unique(labels[seen])) / max(len(np.unique(labels)), 1)
    return Coverage(
        classes, float(seen.mean()) if len(seen) else 0.0, copies / max(batches.size, 1)
    )
