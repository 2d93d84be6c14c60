"""Random resized crop and flip: what the papers on proxy and pair losses train with."""

from dataclasses import dataclass

from dml.augmentations.base import AUGMENTATIONS, Augmentation, check_share
from dml.augmentations.geometry import random_area, randomly_flipped
from dml.images._resizing import resized


@AUGMENTATIONS.register("paper")
@dataclass(frozen=True)
class RandomCropFlip(Augmentation):
    """Resizes a random rectangle of the image to the square, and mirrors half of the images.

    The rectangle's sides are in a ratio from 3:4 to 4:3 (Szegedy et al., 2015), as in torchvision's
    RandomResizedCrop.

    Args:
        min_area: Smallest share of the image's area that is kept. In (0, 1]; 0.08 in the code of
            Proxy Anchor, larger where the object fills little of the image or training is short.
        flip: Probability of mirroring left to right. In [0, 1]; 0 where sides matter.
        aspect: `keep` cuts out of the image as it is; `stretch` out of the image brought to a
            square, for a backbone that sees such images (`backbone.aspect`).
    """

    min_area: float = 0.08
    flip: float = 0.5
    aspect: str = "keep"

    def __post_init__(self):
        check_share(min_area=self.min_area, flip=self.flip)
        if self.aspect not in ("keep", "stretch"):
            raise ValueError(f"aspect must be 'keep' or 'stretch'; got {self.aspect!r}")
        if not self.min_area:
            raise ValueError("min_area must be above 0; got 0")

    def crop(self, image, size, generator):
        ratio = (3 / 4, 4 / 3)
        if self.aspect == "stretch":  # a rectangle of the square has the image's own aspect
            ratio = tuple(r * image.shape[1] / image.shape[0] for r in ratio)
        area = random_area(image.shape, (self.min_area, 1.0), ratio, generator)
        return randomly_flipped(resized(image[area], size), self.flip, generator)

    def decode_side(self, size):
        # A square of the mean area share, (0.08 + 1) / 2, is 0.73 of the side: the usual crop is
        # then not enlarged. Smaller ones are, which is cheaper than decoding everything in full.
        return round(1.4 * size)
