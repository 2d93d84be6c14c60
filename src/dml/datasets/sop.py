"""Stanford Online Products (Oh Song et al., CVPR 2016)."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets._files import integer, read_rows, require_files
from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.items import Items


@DATASETS.register("sop")
@dataclass(frozen=True)
class StanfordOnlineProducts(DatasetPart):
    """120,053 photographs of 22,634 products; training and test have different products.

    Args:
        root: Folder of `Ebay_train.txt`, `Ebay_test.txt` and the folders of images; empty looks
            for `Stanford_Online_Products` or `sop` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
    """

    name: ClassVar[str] = "sop"
    folders: ClassVar[tuple[str, ...]] = ("Stanford_Online_Products", "sop")
    recall_ks: ClassVar[tuple[int, ...]] = (1, 10, 100, 1000)
    expected: ClassVar[dict] = {"zero-shot": {"train": 59551, "test": 60502}}
    source: ClassVar[str] = (
        "its archive is Stanford_Online_Products.zip, from the page of the paper Deep Metric "
        "Learning via Lifted Structured Feature Embedding"
    )

    def read(self) -> Items:
        root = self.folder()
        if (root / "Stanford_Online_Products").is_dir():  # the archive's own folder
            root = root / "Stanford_Online_Products"
        rows = []
        for split in ("train", "test"):
            path = root / f"Ebay_{split}.txt"
            for _, label, category, image in read_rows(path, columns=4, header=1):
                rows.append((image, integer(label, path), integer(category, path), split))
        paths = [root / image for image, *_ in rows]
        require_files(paths)
        images, names, categories, splits = zip(*rows, strict=True)
        return Items.build(paths, names, splits, images, "zero-shot", categories)
