"""Rounding to bfloat16 without a bias."""

from typing import Any

import keras
from keras import ops

_LOST = 16  # bits of float32 that bfloat16 lacks


def round_at_random(x: Any, seed: keras.random.SeedGenerator) -> Any:
    """Returns floats of any shape as bfloat16, rounded up or down so that their mean is exact.

    The chance of either neighbour is how near it is. So steps far smaller than the distance of two
    numbers, which rounding to the nearest would always lose, add up.

    Args:
        x: Floats.
        seed: The seed of the chances.
    """
    bits = ops.view(ops.cast(x, "float32"), "int32")
    chance = keras.random.randint(ops.shape(bits), 0, 2**_LOST, dtype="int32", seed=seed)
    bits = ops.bitwise_and(bits + chance, -(2**_LOST))
    return ops.cast(ops.view(bits, "float32"), "bfloat16")
