"""Batches with more images of small classes and fewer of large ones."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer, check_within
from dml.errors import OptionError
from dml.samplers._epochs import epoch_generator, full_batches
from dml.samplers.base import SAMPLERS, Sampler


@SAMPLERS.register("weighted")
@dataclass(frozen=True)
class Weighted(Sampler):
    """Draws each image in proportion to the size of its class to the power of -`power`.

    An epoch has as many batches as with `shuffle`. An image whose share of it is m visits is drawn
    floor(m) or ceil(m) times, m on average, and never twice for one batch. For proxy losses on data
    sets with few large and many small classes; pair losses need `m_per_class`.

    Args:
        batch_size: Images in a batch. Positive; 64 is a choice of this project.
        power: 0 draws all images equally often, 1 all classes equally often. In [0, 1]; 0.5 as is
            customary for long tails (Mahajan et al., ECCV 2018).

    Raises:
        OptionError: An option is out of its range, the data set is smaller than a batch, or an
            image would be needed twice in a batch.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
        >>> dml.samplers.Weighted(batch_size=4).batches(labels, epoch=0, seed=0).shape
        (2, 4)

    References:
        - [Mahajan et al., ECCV 2018](https://arxiv.org/abs/1805.00932)
    """

    batch_size: int = 64  # pyright: ignore[reportIncompatibleMethodOverride]
    power: float = 0.5

    def __post_init__(self):
        check_integer(1, batch_size=self.batch_size)
        check_within(0, 1, power=self.power)

    def batches(self, labels: ArrayLike, epoch: int, seed: int) -> np.ndarray:
        labels = np.asarray(labels)
        steps = full_batches(len(labels), self.batch_size)
        _, classes, counts = np.unique(labels, return_inverse=True, return_counts=True)
        weights = counts[classes].astype("float64") ** -self.power
        total = steps * self.batch_size
        visits = weights * (total / weights.sum())
        if visits.max() > steps * (1 + 1e-9):
            raise OptionError(
                "sampler.power",
                f"is {self.power}, with which an image of the smallest class would be needed more "
                "than once in a batch; lower it or sampler.batch_size",
            )
        visits = np.minimum(visits, steps)  # rounding may exceed it
        generator = epoch_generator(seed, epoch)
        order = generator.permutation(len(labels))
        # Evenly spaced needles over a random order of the images, each as wide as its visits.
        ends = np.cumsum(visits[order])
        needles = (np.arange(total) + generator.random()) * (ends[-1] / total)
        drawn = order[np.minimum(np.searchsorted(ends, needles, side="right"), len(order) - 1)]
        # Dealt out one by one, so that equal neighbours are in different batches.
        batches = drawn.reshape(self.batch_size, steps).T
        return generator.permuted(batches[generator.permutation(steps)], axis=1).astype(np.int64)
