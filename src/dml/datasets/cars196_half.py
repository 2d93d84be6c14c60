"""The training half of Stanford Cars, zero-shot, as a data set of its own."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.cars196 import annotations, class_names, table, zero_shot
from dml.datasets.items import Items


@DATASETS.register("cars196-half")
@dataclass(frozen=True)
class Cars196Half(DatasetPart):
    """8,144 photographs: of classes 1-98 to train on, of 99-196 to test on.

    The gallery is half as large as that of Cars196, so metrics are not comparable with those
    published for it.

    Args:
        root: Folder of `cars_train/` and `devkit/`; empty takes `cars196` in the folder that
            DML_DATA names.
        validation_fraction: Share of the training classes set apart for validation. In [0, 1).
        validation_seed: Which classes these are. At least 0.
        validation: `classes`, or `images`: that share of each class's images instead.
    """

    name: ClassVar[str] = "cars196-half"
    folders: ClassVar[tuple[str, ...]] = ("cars196", "stanford_cars")
    expected: ClassVar[dict] = {"zero-shot": {"train": 4052, "test": 4092}}
    source: ClassVar[str] = "it is the training half of cars196: cars_train/ and devkit/"

    def read(self) -> Items:
        root = self.folder()
        rows = annotations(root, "cars_train", "train", ["cars_train_annos.mat"])
        return table(root, zero_shot(rows), class_names(root), "zero-shot")
