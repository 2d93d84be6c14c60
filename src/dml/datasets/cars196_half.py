"""The training half of Stanford Cars, zero-shot, as a data set of its own."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets._cars import annotations, class_names, table, zero_shot
from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.items import Items


@DATASETS.register("cars196-half")
@dataclass(frozen=True)
class Cars196Half(DatasetPart):
    """8,144 photographs: classes 1-98 for training, 99-196 for testing.

    The gallery is half as large as that of Cars196, so metrics are not comparable with those
    published for it.

    Args:
        root: Folder of `cars_train/` and `devkit/`; empty takes `cars196` in the folder that
            DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
    """

    name: ClassVar[str] = "cars196-half"
    folders: ClassVar[tuple[str, ...]] = ("cars196", "stanford_cars")
    expected: ClassVar[dict] = {"zero-shot": {"train": 4052, "test": 4092}}
    source: ClassVar[str] = "it is the training half of cars196: cars_train/ and devkit/"

    def read(self) -> Items:
        root = self.folder()
        rows = annotations(root, "cars_train", "train", ["cars_train_annos.mat"])
        return table(root, zero_shot(rows), class_names(root), "zero-shot")
