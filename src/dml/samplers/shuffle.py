"""Every image once an epoch, in random order."""

from dataclasses import dataclass

import numpy as np

from dml.samplers.base import SAMPLERS, Sampler, epoch_generator, full_batches


@SAMPLERS.register("shuffle")
@dataclass(frozen=True)
class Shuffle(Sampler):
    """Cuts a random order of the images into batches.

    What proxy losses are usually trained with. A batch then holds few images of one class: pair
    losses want `m_per_class`. The images that do not fill a last batch sit an epoch out; each
    epoch others.

    Args:
        batch_size: Images in a batch. Positive.

    Raises:
        ValueError: `batch_size` is not positive, or larger than the data set.
    """

    batch_size: int = 64

    def __post_init__(self):
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be positive; got {self.batch_size}")

    def batches(self, labels, epoch, seed):
        steps = full_batches(len(labels), self.batch_size)
        order = epoch_generator(seed, epoch).permutation(len(labels)).astype(np.int64)
        return order[: steps * self.batch_size].reshape(steps, self.batch_size)
