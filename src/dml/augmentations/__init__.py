"""Random augmentations of training images, different in each epoch."""

from dml.augmentations.base import AUGMENTATIONS, Augmentation
from dml.augmentations.dml_tf import DmlTf
from dml.augmentations.glyphs import GlyphWarp
from dml.augmentations.none import CentreCrop
from dml.augmentations.paper import RandomCropFlip
from dml.augmentations.strong import Strong

__all__ = [
    "AUGMENTATIONS",
    "Augmentation",
    "CentreCrop",
    "DmlTf",
    "GlyphWarp",
    "RandomCropFlip",
    "Strong",
]
