"""What samplers of whole epochs share: the number of batches, and the random generator."""

import numpy as np

from dml._text import number_of
from dml.errors import OptionError


def full_batches(images: int, batch_size: int) -> int:
    """Returns the number of batches that images fill.

    Raises:
        OptionError: They do not fill a batch.
    """
    if images < batch_size:
        raise OptionError(
            "sampler.batch_size",
            f"is {batch_size}, above the {number_of(images, 'training image')} there are; lower it",
        )
    return images // batch_size


def epoch_generator(seed: int, epoch: int) -> np.random.Generator:
    """Returns the random generator of an epoch's order.

    NumPy pads the key with zeros: others derived from the same seed and epoch must not use (seed,
    epoch, 0, ...).
    """
    return np.random.default_rng((seed, epoch))
