"""Batches of S super-classes with P classes of each and K images of each class."""

import heapq
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from dml.samplers.base import SAMPLERS, Sampler, epoch_generator
from dml.samplers.decks import rows_by_class
from dml.samplers.m_per_class import SMALL_CLASSES, MPerClass
from dml.samplers.super_classes import checked, joined


@SAMPLERS.register("hierarchical")
@dataclass(frozen=True)
class Hierarchical(Sampler):
    """Fills each batch with classes of a few super-classes, as sofas and lamps among all products.

    Most negatives in a batch are then of the image's own super-class, which are the hard ones,
    without a look at the model. For data sets with a super-label, such as the category of Online
    Products or In-Shop; one without is refused. In the manner of pytorch-metric-learning's sampler,
    but an epoch visits every class.

    A super-class's part of its batches is what `m_per_class` makes of that super-class alone: all
    its classes in random rounds, their images from shuffled decks, over epochs every image. Large
    super-classes come more often, so that all classes are visited about equally often; those too
    small to fill their part of a batch are joined to one.

    Args:
        super_classes_per_batch: S. Positive; 2 in pytorch-metric-learning.
        classes_per_super_class: P. Positive.
        images_per_class: K. Positive; pair losses need at least 2.
        small_classes: What a class with fewer than K images does: `once`, `repeat_augmented` or
            `skip`, as with `m_per_class`; further classes of the same super-class fill its part.

    Raises:
        ValueError: An option is out of its range, there are no super-labels, a class has two of
            them, or too few super-classes can fill their part of a batch.
    """

    super_classes_per_batch: int = 2
    classes_per_super_class: int = 8
    images_per_class: int = 4
    small_classes: str = "once"

    wants: ClassVar[tuple[str, ...]] = ("super_labels",)

    def __post_init__(self):
        options = ("super_classes_per_batch", "classes_per_super_class", "images_per_class")
        for option in options:
            if getattr(self, option) < 1:
                raise ValueError(f"{option} must be positive; got {getattr(self, option)}")
        if self.small_classes not in SMALL_CLASSES:
            raise ValueError(
                f"small_classes must be one of {', '.join(SMALL_CLASSES)}; "
                f"got {self.small_classes!r}"
            )

    @property
    def batch_size(self):
        return self.super_classes_per_batch * self.classes_per_super_class * self.images_per_class

    def batches(self, labels, epoch, seed, super_labels=None):
        """Returns the rows of a whole epoch.

        Args:
            labels: As of every sampler.
            epoch: As of every sampler.
            seed: As of every sampler.
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
            raise ValueError(
                f"sampler.super_classes_per_batch is {each}, but only {supers} super-classes that "
                "fill their part of a batch are there; lower it, or sampler.classes_per_super_class"
            )
        rows, starts, _ = rows_by_class(codes)
        members = np.split(rows, starts[1:])
        classes = np.array([len(np.unique(labels[rows])) for rows in members])
        least = -(-classes // self.classes_per_super_class)  # to visit each class
        steps = int(max(len(labels) // self.batch_size, -(-least.sum() // each), least.max()))
        visits = visits_of(classes, least, steps, each)
        chosen = schedule(visits, each, steps, epoch_generator(seed, epoch))
        parts = np.empty((steps, each, self.batch_size // each), np.int64)
        for code, rows in enumerate(members):
            # Super-classes of one size would otherwise go through their classes in one order.
            own_seed = np.random.SeedSequence((seed, code)).generate_state(1, np.uint64)[0]
            alone = self.alone(int(visits[code]))
            parts[chosen == code] = rows[alone.batches(labels[rows], epoch, int(own_seed))]
        return kept[parts.reshape(steps, self.batch_size)]

    def alone(self, steps):
        """Returns the sampler of one super-class's parts."""
        return MPerClass(
            self.classes_per_super_class, self.images_per_class, self.small_classes, steps
        )


def visits_of(classes, least, steps, each):
    """Returns in how many of the batches each super-class is, in proportion to its classes.

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


def schedule(visits, each, steps, generator):
    """Returns the super-classes (steps, S) of all batches: S different ones in each.

    A batch draws them in proportion to the visits that they have left. One that has as many left as
    there are batches is in all of these, so that no visits are left at the end.
    """
    left, chosen = visits.copy(), np.empty((steps, each), np.int64)
    with np.errstate(divide="ignore"):  # log(0): has no visits left
        for step in range(steps):
            key = np.log(left) + generator.gumbel(size=len(left))  # the S largest: that draw
            key[left == steps - step] = np.inf
            chosen[step] = np.argpartition(key, -each)[-each:]
            left[chosen[step]] -= 1
    return chosen
