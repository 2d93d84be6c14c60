"""Stanford Cars, known as Cars196 (Krause et al., 3DRR 2013)."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets._cars import all_annotations, annotations, class_names, table, zero_shot
from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.items import Items


@DATASETS.register("cars196")
@dataclass(frozen=True)
class Cars196(DatasetPart):
    """16,185 photographs of 196 models of cars, in either of the layouts it was published in.

    Args:
        root: Folder of `devkit/`, `cars_train/` and `cars_test/`, or of `cars_annos.mat` and
            `car_ims/`; empty looks for `cars196` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
        protocol: `zero-shot`: classes 1-98 train, 99-196 test, the official image split ignored;
            `seen-class`: the official image split, all classes on both sides.
    """

    protocol: str = "zero-shot"

    name: ClassVar[str] = "cars196"
    folders: ClassVar[tuple[str, ...]] = ("cars196", "stanford_cars")
    protocols: ClassVar[tuple[str, ...]] = ("zero-shot", "seen-class")
    expected: ClassVar[dict] = {
        "zero-shot": {"train": 8054, "test": 8131},
        "seen-class": {"train": 8144, "test": 8041},
    }
    source: ClassVar[str] = (
        "Stanford Cars has no public address any more; mirrors hold cars_train/, cars_test/ and "
        "devkit/ with cars_test_annos_withlabels.mat, or car_ims/ with cars_annos.mat"
    )

    def read(self) -> Items:
        root = self.folder()
        if (root / "cars_annos.mat").is_file():
            rows = all_annotations(root)
        else:
            rows = annotations(root, "cars_train", "train", ["cars_train_annos.mat"])
            names = ["cars_test_annos_withlabels.mat"]
            rows += annotations(root, "cars_test", "test", names)
        if self.protocol == "zero-shot":
            rows = zero_shot(rows)
        return table(root, rows, class_names(root), self.protocol)
