"""What every sampler shares: its registry, its one method and how its batches are judged."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dml.registry import Registry

SAMPLERS = Registry("sampler")


class Sampler:
    """Chooses the rows of every batch of an epoch, as a pure function of labels, epoch and seed.

    Nothing is remembered between epochs, so a training resumes at any epoch with the batches that
    it would have had. Subclasses are frozen dataclasses whose fields are the options.

    A sampler that reads more than labels names it in `wants`, and `batches` takes it as a keyword:
    `super_labels` (N,), `ids` (N,) or `class_vectors` (classes, D), None where there is none.
    """

    wants: ClassVar[tuple[str, ...]] = ()

    @property
    def batch_size(self):
        """Rows in each batch; the same in all of them."""
        raise NotImplementedError

    def batches(self, labels, epoch, seed):
        """Returns the rows of a whole epoch.

        Args:
            labels: Integers (N,): the class of each row.
            epoch: Which epoch, from 0. Their batches differ, their number does not.
            seed: At least 0.

        Returns:
            Int64 (steps, batch_size), each in [0, N).

        Raises:
            ValueError: The rows can't fill such batches.
        """
        raise NotImplementedError

    def batches_of(self, items, epoch, seed, class_vectors=None):
        """Returns the batches of a table, with what this sampler reads of it.

        Args:
            items: `dml.datasets.Items`.
            epoch: As of `batches`.
            seed: As of `batches`.
            class_vectors: Floats (classes, D): where each class is now; None before training.
        """
        known = {
            "super_labels": items.super_labels,
            "ids": items.ids,
            "class_vectors": class_vectors,
        }
        extra = {name: known[name] for name in self.wants}
        return self.batches(items.labels, epoch=epoch, seed=seed, **extra)


def shard(batches, index, count):
    """Returns one process's part of every batch; the parts together are the batches.

    Args:
        batches: Integers (steps, batch_size), as `Sampler.batches` returns them.
        index: Which process, in [0, count).
        count: Processes; positive.

    Returns:
        Integers (steps, batch_size / count).

    Raises:
        ValueError: There is no such process, or the batch does not divide among them.
    """
    size = batches.shape[1]
    if not 0 <= index < count:
        raise ValueError(f"index must be in [0, {count}); got {index}")
    if size % count:
        raise ValueError(
            f"a batch of {size} images does not divide among {count} processes; "
            f"make it {size - size % count or count} or {size + count - size % count}"
        )
    part = size // count
    return batches[:, index * part : (index + 1) * part]


def full_batches(images, batch_size):
    """Returns how many batches that many images fill.

    Raises:
        ValueError: They don't fill one.
    """
    if images < batch_size:
        raise ValueError(
            f"sampler.batch_size is {batch_size}, but there are only {images} training images; "
            "lower it"
        )
    return images // batch_size


@dataclass(frozen=True)
class Coverage:
    """How much of a data set an epoch's batches hold.

    Args:
        classes: Share of the classes that occur. In [0, 1].
        images: Share of the images that occur. In [0, 1].
        copies: Share of the places in a batch whose image is in that batch before. In [0, 1).
    """

    classes: float
    images: float
    copies: float

    def __str__(self):
        text = f"{self.classes:.1%} of the classes and {self.images:.1%} of the images an epoch"
        return text + (f"; {self.copies:.1%} are copies within a batch" if self.copies else "")


def coverage(batches, labels):
    """Measures which classes and images an epoch visits.

    Args:
        batches: Integers (steps, batch_size), as `Sampler.batches` returns them.
        labels: Integers (N,): the class of each row.
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


def epoch_generator(seed, epoch):
    """Returns the random generator of an epoch's order.

    NumPy pads the key with zeros: whoever derives others from the same seed and epoch must not
    use (seed, epoch, 0, ...).
    """
    return np.random.default_rng((seed, epoch))
