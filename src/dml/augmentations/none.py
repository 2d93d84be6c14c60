"""No augmentation: images as in evaluation."""

from dataclasses import dataclass

import numpy as np

from dml.augmentations.base import AUGMENTATIONS, Augmentation
from dml.images._resizing import centre_square


@AUGMENTATIONS.register("none")
@dataclass(frozen=True)
class CentreCrop(Augmentation):
    """Takes the centre square of each image, as in evaluation. For measurements and overfitting.

    Copies of an image in a batch are then equal: do not use `m_per_class` with `repeat_augmented`.

    Example:
        >>> image = np.zeros((48, 64, 3), "uint8")
        >>> dml.augmentations.CentreCrop().crop(image, 32, np.random.default_rng(0)).shape
        (32, 32, 3)
    """

    def crop(self, image: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        return centre_square(image, size)
