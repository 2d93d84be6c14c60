"""Crops, flips, colour jitter and erased rectangles, for small data sets and long training."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dml._options import check_interval, check_within
from dml.augmentations._colour import colour_layers
from dml.augmentations.base import AUGMENTATIONS
from dml.augmentations.paper import RandomCropFlip

if TYPE_CHECKING:
    import keras


@AUGMENTATIONS.register("strong")
@dataclass(frozen=True)
class Strong(RandomCropFlip):
    """Random resized crop and flip, then colour jitter and an erased rectangle.

    For data sets on which models overfit within a few epochs. Where colours distinguish classes
    (birds, clothes), lower `hue` and `saturation`. How strong colours change and how often a
    rectangle is erased are choices of this project.

    Args:
        min_area: Smallest share of the image's area that is kept. In (0, 1]; 0.16 in the code of
            Multi-Similarity.
        flip: Probability of flipping left to right. In [0, 1].
        aspect: As for `paper`.
        brightness: Largest shift, as a share of the range of values. In [0, 1].
        contrast: Largest change of the distance from the mean colour, as a share. In [0, 1].
        saturation: Largest change s of the saturation, which is multiplied by a factor between
            (1 - s) / (1 + s) and (1 + s) / (1 - s). In [0, 1).
        hue: Largest rotation, as a share of the colour circle. In [0, 0.5].
        erase: Probability of erasing a rectangle of up to a fifth of the image. In [0, 1].

    Raises:
        OptionError: An option is out of its range.

    Example:
        >>> image = np.zeros((48, 64, 3), "uint8")
        >>> dml.augmentations.Strong().crop(image, 32, np.random.default_rng(0)).shape
        (32, 32, 3)
    """

    min_area: float = 0.16
    flip: float = 0.5
    aspect: str = "keep"
    brightness: float = 0.2
    contrast: float = 0.3
    saturation: float = 0.3
    hue: float = 0.05
    erase: float = 0.25

    def __post_init__(self):
        super().__post_init__()
        check_within(0, 0.5, hue=self.hue)
        check_within(
            0,
            1,
            brightness=self.brightness,
            contrast=self.contrast,
            erase=self.erase,
        )
        check_interval("[0, 1)", saturation=self.saturation)

    def layers(self, seed: int | None = None) -> "list[keras.Layer]":
        return colour_layers(
            brightness=self.brightness,
            contrast=self.contrast,
            saturation=self.saturation,
            hue=self.hue,
            erase=self.erase,
            erased_area=0.2,
            seed=seed,
        )
