"""Random resized crop and flip, as in the papers on proxy and pair losses."""

from dataclasses import dataclass

import numpy as np

from dml._options import check_interval, check_known, check_within
from dml.augmentations._geometry import random_area, randomly_flipped
from dml.augmentations.base import AUGMENTATIONS, Augmentation
from dml.images._resizing import resized

_ASPECTS = ("keep", "stretch")


@AUGMENTATIONS.register("paper")
@dataclass(frozen=True)
class RandomCropFlip(Augmentation):
    """Resizes a random rectangle of the image to the square, and flips half of the images.

    The rectangle's sides are in a ratio from 3:4 to 4:3 (Szegedy et al., 2015), as in torchvision's
    RandomResizedCrop.

    Args:
        min_area: Smallest share of the image's area that is kept. In (0, 1]; 0.08 in the code of
            Proxy Anchor, larger where the object fills little of the image or training is short.
        flip: Probability of flipping left to right. In [0, 1]; 0 where left and right matter.
        aspect: `keep` crops the image; `stretch` crops the image resized to a square, for a
            backbone with such images (`backbone.aspect`).

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> image = np.zeros((100, 150, 3), "uint8")
        >>> augmentation = dml.augmentations.RandomCropFlip(min_area=0.2)
        >>> augmentation.crop(image, 64, np.random.default_rng(0)).shape
        (64, 64, 3)
    """

    min_area: float = 0.08
    flip: float = 0.5
    aspect: str = "keep"

    def __post_init__(self):
        check_interval("(0, 1]", min_area=self.min_area)
        check_within(0, 1, flip=self.flip)
        check_known(_ASPECTS, aspect=self.aspect)

    def crop(self, image: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
        ratio = (3 / 4, 4 / 3)
        if self.aspect == "stretch":  # relative to the aspect of the image
            low, high = (r * image.shape[1] / image.shape[0] for r in ratio)
            ratio = low, high
        area = random_area(image.shape, (self.min_area, 1.0), ratio, generator)
        return randomly_flipped(resized(image[area], size), self.flip, generator)

    def decode_side(self, size: int) -> int:
        # A square of the mean area share, (0.08 + 1) / 2, is 0.73 of the side: the mean crop is not
        # enlarged. Smaller ones are, which is cheaper than decoding all images in full.
        return round(1.4 * size)
