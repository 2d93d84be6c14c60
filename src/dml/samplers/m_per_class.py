"""Batches of P classes with K images each."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer, check_known
from dml._text import number_of
from dml.errors import OptionError
from dml.samplers._decks import SMALL_CLASSES, deal, rows_by_class, visit_numbers
from dml.samplers._epochs import epoch_generator
from dml.samplers.base import SAMPLERS, Sampler


@SAMPLERS.register("m_per_class")
@dataclass(frozen=True)
class MPerClass(Sampler):
    """Fills each batch with the same number of images of each of some classes.

    Every image then has positives in its batch, which pair losses need. An epoch goes through the
    classes in random rounds and visits each at least once, all about equally often. Each class
    deals its images from a shuffled deck of its own, K at a time; the position in the deck is a
    function of epoch and seed, so every image is used over the epochs, and resuming needs no state.

    Args:
        classes_per_batch: P. Positive; 16, with 4 images of each, in the code of cross-batch
            memory.
        images_per_class: K. Positive; pair losses need at least 2.
        small_classes: How to sample classes with fewer than K images. `once`: use each image once,
            and fill up the batch with images of further classes. `repeat_augmented`: repeat images,
            each copy with its own augmentation; a single image is then its own positive. `skip`:
            leave the class out.
        steps: Batches in an epoch. 0 uses as many as the images of the data set fill, and at least
            enough to visit every class.

    Raises:
        OptionError: An option is out of its range, or the classes can't fill such batches.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
        >>> sampler = dml.samplers.MPerClass(classes_per_batch=2, images_per_class=2)
        >>> batches = sampler.batches(labels, epoch=0, seed=0)
        >>> batches.shape
        (2, 4)
        >>> sorted(set(labels[batches].ravel().tolist()))
        [0, 1, 2, 3]

    References:
        - [Hermans et al., 2017](https://arxiv.org/abs/1703.07737)
    """

    classes_per_batch: int = 16
    images_per_class: int = 4
    small_classes: str = "once"
    steps: int = 0

    def __post_init__(self):
        check_integer(
            1, classes_per_batch=self.classes_per_batch, images_per_class=self.images_per_class
        )
        check_known(SMALL_CLASSES, small_classes=self.small_classes)
        check_integer(0, steps=self.steps)

    @property
    def batch_size(self) -> int:
        return self.classes_per_batch * self.images_per_class

    def batches(self, labels: ArrayLike, epoch: int, seed: int) -> np.ndarray:
        return self._batches_in_orders(labels, epoch, seed, _random_orders)

    def _batches_in_orders(
        self,
        labels: ArrayLike,
        epoch: int,
        seed: int,
        orders: Callable[[np.ndarray, int, np.random.Generator], np.ndarray],
    ) -> np.ndarray:
        """Returns the batches of an epoch whose rounds visit the classes in given orders.

        Args:
            labels: As in `batches`.
            epoch: As in `batches`.
            seed: As in `batches`.
            orders: Called with the kept classes, as places (C,) among the sorted ones, the number
                of rounds and a random generator; returns a permutation of 0..C-1 for each round.
        """
        rows, starts, counts = rows_by_class(labels)
        kept = np.arange(len(counts))
        if self.small_classes == "skip":
            kept = np.flatnonzero(counts >= self.images_per_class)
            starts, counts = starts[kept], counts[kept]
        # Images that one visit of a class adds to the batch.
        given = np.full_like(counts, self.images_per_class)
        if self.small_classes == "once":
            given = np.minimum(counts, given)
        self._check_enough(given)
        round_steps = -(-len(counts) // self.classes_per_batch)  # a round: each class at least once
        steps = self.steps or max(round_steps, int(counts.sum()) // self.batch_size)
        if steps < round_steps:
            raise OptionError(
                "sampler.steps",
                f"is {steps}, but {round_steps} are needed to visit each of the "
                f"{number_of(len(counts), 'class')}; raise it, or set 0",
            )
        order = orders(kept, -(-steps // round_steps), epoch_generator(seed, epoch))
        visited, taken = self._classes_of_batches(given, steps, round_steps, order)
        # Visits before this epoch, without those that only fill a batch: the same for all classes,
        # so that the position in the deck needs no memory. Consecutive epochs leave no gap.
        first = epoch * (steps // round_steps)
        visits = first + visit_numbers(visited, taken, self.classes_per_batch)
        classes = visited[taken]
        size = self.images_per_class
        images = deal(rows, starts[classes], counts[classes], classes, visits[taken], size, seed)
        there = np.arange(size) < given[classes][:, None]
        step = np.broadcast_to(np.nonzero(taken)[0][:, None], there.shape)[there]
        place = np.arange(len(step)) - np.searchsorted(step, np.arange(steps))[step]
        return images[there][place < self.batch_size].reshape(steps, self.batch_size)

    def _check_enough(self, given):
        """Raises OptionError unless the classes can fill a batch without repeating an image."""
        wanted, least = self.classes_per_batch, self.images_per_class
        if len(given) < wanted:
            which = ""
            if self.small_classes == "skip":
                which = f" with at least {number_of(least, 'image')}"
            raise OptionError(
                "sampler.classes_per_batch",
                f"is {wanted}, but the training split has only "
                f"{number_of(len(given), 'class')}{which}; lower it",
            )
        if given.sum() < self.batch_size:
            raise OptionError(
                "sampler.classes_per_batch",
                f"is {wanted}, for batches of {self.batch_size} images, but at most {least} of "
                f"each class make only {number_of(given.sum(), 'image')}; lower it or "
                "sampler.images_per_class",
            )

    def _classes_of_batches(self, given, steps, round_steps, order):
        """Returns the classes (steps, W) that each batch may visit, and which it takes.

        It takes the first P, and where they give too few images, those that follow.
        """
        classes = len(given)
        short = bool((given < self.images_per_class).any())
        width = min(classes, self.batch_size) if short else self.classes_per_batch
        step = np.arange(steps)[:, None]
        # The last batch of a round is filled from the round's beginning.
        column = (step % round_steps) * self.classes_per_batch + np.arange(width)
        visited = order[step // round_steps, column % classes]
        before = np.cumsum(given[visited], axis=1) - given[visited]
        return visited, before < self.batch_size


def _random_orders(kept: np.ndarray, rounds: int, generator: np.random.Generator) -> np.ndarray:
    """Returns a random order (rounds, C) of C classes for each round."""
    return generator.permuted(np.tile(np.arange(len(kept)), (rounds, 1)), axis=1)
