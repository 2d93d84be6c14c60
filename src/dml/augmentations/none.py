"""No augmentation: what evaluation sees."""

from dataclasses import dataclass

from dml.augmentations.base import AUGMENTATIONS, Augmentation
from dml.images._resizing import centre_square


@AUGMENTATIONS.register("none")
@dataclass(frozen=True)
class CentreCrop(Augmentation):
    """Takes the middle square of each image, as evaluation does. For measurements and overfitting.

    Copies of one image in a batch are then equal: `m_per_class` with `repeat_augmented` has no
    sense here.
    """

    def crop(self, image, size, generator):
        return centre_square(image, size)
