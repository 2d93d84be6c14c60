"""Glyphs: characters of random pen strokes, drawn when they are read; about as hard as Omniglot."""

from dataclasses import dataclass
from typing import ClassVar

from dml._options import check_integer, check_within
from dml.datasets._files import halves
from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.items import Items
from dml.errors import OptionError
from dml.images._references import DrawnRef
from dml.images._strokes import LARGEST, SMALLEST

_MOST = 10_000_000  # images, whose list takes some GB


@DATASETS.register("glyphs")
@dataclass(frozen=True)
class Glyphs(DatasetPart):
    """Any number of character classes and drawings, the same for the same seed; needs no files.

    Each class is a set of strokes and each image a new drawing of it, with jitter in the strokes,
    the pen, slant, scale and place.

    Args:
        root: Unused: nothing is read from a disk.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
        classes: Characters; at least 2.
        samples: Drawings of each character; positive, at least 2 with `seen-class`. Ten million in
            all at most.
        size: Side of an image in pixels; 8 to 4,096.
        seed: Seed of the characters. At least 0.
        protocol: `zero-shot`: the first half of the characters trains, the second tests;
            `seen-class`: of every character, the first half of the drawings trains.
    """

    classes: int = 200
    samples: int = 20
    size: int = 64
    seed: int = 0
    protocol: str = "zero-shot"

    name: ClassVar[str] = "glyphs"
    source: ClassVar[str] = "it is generated when it is read and needs no files"
    protocols: ClassVar[tuple[str, ...]] = ("zero-shot", "seen-class")

    def __post_init__(self):
        super().__post_init__()
        check_integer(2, classes=self.classes)
        check_integer(2 if self.protocol == "seen-class" else 1, samples=self.samples)
        check_integer(0, seed=self.seed)
        check_within(SMALLEST, LARGEST, size=self.size)
        if self.classes * self.samples > _MOST:
            raise OptionError(
                "classes",
                f"times samples must be at most {_MOST:,} images; got {self.classes} and "
                f"{self.samples}",
            )

    def read(self) -> Items:
        split_of_class = halves(range(self.classes))
        paths, names, splits = [], [], []
        for character in range(self.classes):
            for sample in range(self.samples):
                paths.append(str(DrawnRef.of(character, sample, self.size, self.seed)))
                names.append(character)
                if self.protocol == "zero-shot":
                    splits.append(split_of_class[character])
                else:
                    splits.append("train" if sample < self.samples // 2 else "test")
        return Items.build(paths, names, splits, paths, self.protocol)
