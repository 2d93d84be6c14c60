"""Batches of S super-classes with P classes of each and K images of each class."""

import heapq
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer, check_known
from dml.errors import OptionError
from dml.samplers._decks import SMALL_CLASSES, rows_by_class
from dml.samplers._epochs import epoch_generator
from dml.samplers._super_classes import checked, joined
from dml.samplers.base import SAMPLERS, Sampler
from dml.samplers.m_per_class import MPerClass


@SAMPLERS.register("hierarchical")
@dataclass(frozen=True)
class Hierarchical(Sampler):
    """Fills each batch with classes of a few super-classes, such as sofas and lamps.

    Most negatives in a batch are then hard ones of the image's own super-class, without using a
    model. Requires a data set with super-labels, such as the categories of Online Products and
    In-Shop. Like the sampler of pytorch-metric-learning, but an epoch visits every class.

    A super-class's part of its batches is that of `m_per_class` for this super-class alone: all its
    classes in random rounds, their images from shuffled decks, over epochs every image. Large
    super-classes occur more often, so that all classes are visited about equally often;
    super-classes that are too small to fill their part of a batch are merged.

    Args:
        super_classes_per_batch: S. Positive; 2 in pytorch-metric-learning.
        classes_per_super_class: P. Positive; 8, with 4 images of each, is a choice of this project:
            a batch has 64 images, as with `m_per_class`.
        images_per_class: K. Positive; pair losses need at least 2.
        small_classes: How to sample classes with fewer than K images: `once`, `repeat_augmented`
            or `skip`, as with `m_per_class`; further classes of the super-class fill up its part.

    Raises:
        OptionError: An option is out of its range, or too few super-classes can fill their part of
            a batch.
        ArrayError: Super-labels are missing, or a class has two of them.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
        >>> of = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1])  # the super-class of each image
        >>> sampler = dml.samplers.Hierarchical(1, classes_per_super_class=2, images_per_class=2)
        >>> batches = sampler.batches(labels, epoch=0, seed=0, super_labels=of)
        >>> sorted({tuple(sorted(set(labels[rows].tolist()))) for rows in batches})
        [(0, 1), (2, 3)]

    References:
        - [Cakir et al., CVPR 2019](https://doi.org/10.1109/CVPR.2019.00196)
    """

    super_classes_per_batch: int = 2
    classes_per_super_class: int = 8
    images_per_class: int = 4
    small_classes: str = "once"

    wants: ClassVar[tuple[str, ...]] = ("super_labels",)

    def __post_init__(self):
        options = ("super_classes_per_batch", "classes_per_super_class", "images_per_class")
        check_integer(1, **{option: getattr(self, option) for option in options})
        check_known(SMALL_CLASSES, small_classes=self.small_classes)

    @property
    def batch_size(self) -> int:
        return self.super_classes_per_batch * self.classes_per_super_class * self.images_per_class

    def batches(
        self, labels: ArrayLike, epoch: int, seed: int, super_labels: ArrayLike | None = None
    ) -> np.ndarray:
        """Returns the rows of a whole epoch.

        Args:
            labels: As in every sampler.
            epoch: As in every sampler.
            seed: As in every sampler.
            super_labels: Integers (N,): the super-class of each row.
        """
        labels, codes = np.asarray(labels), checked(super_labels, labels)
        size, each = self.images_per_class, self.super_classes_per_batch
        kept = np.arange(len(labels))
        if self.small_classes == "skip":
            _, which, counts = np.unique(labels, return_inverse=True, return_counts=True)
            kept = np.flatnonzero(counts[which] >= size)
            labels = labels[kept]
        repeats = self.small_classes == "repeat_augmented"
        codes, supers = joined(codes[kept], labels, self.classes_per_super_class, size, repeats)
        if supers < each:
            raise OptionError(
                "sampler.super_classes_per_batch",
                f"is {each}, but only {supers} super-classes fill their part of a batch; lower it "
                "or sampler.classes_per_super_class",
            )
        rows, starts, _ = rows_by_class(codes)
        members = np.split(rows, starts[1:])
        classes = np.array([len(np.unique(labels[rows])) for rows in members])
        least = -(-classes // self.classes_per_super_class)  # to visit each class
        steps = int(max(len(labels) // self.batch_size, -(-least.sum() // each), least.max()))
        visits = _visits_of(classes, least, steps, each)
        chosen = _schedule(visits, each, steps, epoch_generator(seed, epoch))
        parts = np.empty((steps, each, self.batch_size // each), np.int64)
        for code, rows in enumerate(members):
            # Otherwise super-classes of equal size would visit their classes in the same order.
            own_seed = np.random.SeedSequence((seed, code)).generate_state(1, np.uint64)[0]
            alone = self._alone(int(visits[code]))
            parts[chosen == code] = rows[alone.batches(labels[rows], epoch, int(own_seed))]
        return kept[parts.reshape(steps, self.batch_size)]

    def _alone(self, steps):
        """Returns the sampler of one super-class's parts."""
        return MPerClass(
            self.classes_per_super_class, self.images_per_class, self.small_classes, steps
        )


def _visits_of(classes, least, steps, each):
    """Returns the number of batches with each super-class, in proportion to its classes.

    At least `least`, at most `steps`, and `steps * each` together.
    """
    visits = least.tolist()
    queue = [((v + 1) / c, code) for code, (v, c) in enumerate(zip(visits, classes, strict=True))]
    heapq.heapify(queue)
    for _ in range(steps * each - sum(visits)):
        while visits[queue[0][1]] == steps:
            heapq.heappop(queue)
        code = queue[0][1]
        visits[code] += 1
        heapq.heapreplace(queue, ((visits[code] + 1) / classes[code], code))
    return np.array(visits)


def _schedule(visits, each, steps, generator):
    """Returns the super-classes (steps, S) of all batches: S different ones in each.

    A batch draws them in proportion to their remaining visits. A super-class with as many visits
    left as there are batches is in each of these, so that no visits remain at the end.
    """
    left, chosen = visits.copy(), np.empty((steps, each), np.int64)
    with np.errstate(divide="ignore"):  # log(0): has no visits left
        for step in range(steps):
            key = np.log(left) + generator.gumbel(size=len(left))  # the S largest are the draw
            key[left == steps - step] = np.inf
            chosen[step] = np.argpartition(key, -each)[-each:]
            left[chosen[step]] -= 1
    return chosen
