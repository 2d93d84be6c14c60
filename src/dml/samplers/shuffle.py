"""Every image once an epoch, in random order."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from dml._options import check_integer
from dml.samplers._epochs import epoch_generator, full_batches
from dml.samplers.base import SAMPLERS, Sampler


@SAMPLERS.register("shuffle")
@dataclass(frozen=True)
class Shuffle(Sampler):
    """Cuts a random order of the images into batches.

    The usual sampler of proxy losses. A batch holds few images of one class: pair losses need
    `m_per_class`. Images that do not fill a last batch are left out, different ones in each epoch.

    Args:
        batch_size: Images in a batch. Positive; 64 is a choice of this project.

    Raises:
        OptionError: `batch_size` is not positive, or larger than the data set.

    Example:
        >>> labels = np.array([0, 0, 0, 1, 1, 2, 2, 2, 3, 3])
        >>> dml.samplers.Shuffle(batch_size=4).batches(labels, epoch=0, seed=0).shape
        (2, 4)
    """

    batch_size: int = 64  # pyright: ignore[reportIncompatibleMethodOverride]

    def __post_init__(self):
        check_integer(1, batch_size=self.batch_size)

    def batches(self, labels: ArrayLike, epoch: int, seed: int) -> np.ndarray:
        images = len(np.asarray(labels))
        steps = full_batches(images, self.batch_size)
        order = epoch_generator(seed, epoch).permutation(images).astype(np.int64)
        return order[: steps * self.batch_size].reshape(steps, self.batch_size)
