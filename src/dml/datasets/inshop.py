"""In-Shop Clothes Retrieval of DeepFashion (Liu et al., CVPR 2016)."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets._files import find_file, read_rows, require_files
from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.items import Items
from dml.errors import DataError

_SPLITS = ("train", "query", "gallery")


@DATASETS.register("inshop")
@dataclass(frozen=True)
class InShop(DatasetPart):
    """52,712 photographs of 7,982 clothes: queries search a gallery of other pictures of them.

    Args:
        root: Folder of `list_eval_partition.txt` (or `Eval/` with it) and `img/`; empty looks for
            `In_Shop` or `inshop` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
    """

    name: ClassVar[str] = "inshop"
    folders: ClassVar[tuple[str, ...]] = ("In_Shop", "inshop")
    protocols: ClassVar[tuple[str, ...]] = ("query-gallery",)
    recall_ks: ClassVar[tuple[int, ...]] = (1, 10, 20, 30)
    expected: ClassVar[dict] = {"query-gallery": {"train": 25882, "query": 14218, "gallery": 12612}}
    source: ClassVar[str] = (
        "the authors of DeepFashion provide it on request (In-shop Clothes Retrieval Benchmark: "
        "Img/img.zip and Eval/list_eval_partition.txt)"
    )

    def read(self) -> Items:
        root = self.folder()
        lists = [root / where / "list_eval_partition.txt" for where in ("", "Eval")]
        path = find_file(*lists)
        images = root / "Img" if (root / "Img").is_dir() else root
        rows = read_rows(path, columns=3, header=2)  # below the count and the names of the columns
        for image, _, split in rows:
            if split not in _SPLITS:
                raise DataError(
                    path, f"corrupt: {image} is of split {split!r}, not {', '.join(_SPLITS)}"
                )
        paths = [images / image for image, *_ in rows]
        require_files(paths)
        return Items.build(
            paths,
            [name for _, name, _ in rows],
            [split for *_, split in rows],
            [image for image, *_ in rows],
            "query-gallery",
            [_category(image) for image, *_ in rows],
        )


def _category(image):
    """Returns WOMEN/Dresses for img/WOMEN/Dresses/id_00000001/01_1_front.jpg."""
    return "/".join(image.split("/")[-4:-2])
