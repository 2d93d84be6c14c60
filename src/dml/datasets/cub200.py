"""Caltech-UCSD Birds-200-2011 (Wah et al., CNS-TR-2011-001)."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets.base import DATASETS, Archive, DatasetPart, integer, read_rows, require_files
from dml.datasets.items import Items
from dml.errors import DataError

CLASSES = 200


@DATASETS.register("cub200")
@dataclass(frozen=True)
class CUB200(DatasetPart):
    """11,788 photographs of 200 species of birds, bounding boxes unused.

    Args:
        root: Folder of `images.txt`, `image_class_labels.txt`, `classes.txt` and `images/`;
            empty looks for `CUB_200_2011` or `cub200` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes; `images`, that share of each class's images.
        protocol: `zero-shot`: classes 1-100 train, 101-200 test, the official image split
            ignored; `seen-class`: the official image split, all classes on both sides.
    """

    protocol: str = "zero-shot"

    name: ClassVar[str] = "cub200"
    folders: ClassVar[tuple[str, ...]] = ("CUB_200_2011", "cub200")
    protocols: ClassVar[tuple[str, ...]] = ("zero-shot", "seen-class")
    expected: ClassVar[dict] = {
        "zero-shot": {"train": 5864, "test": 5924},
        "seen-class": {"train": 5994, "test": 5794},
    }
    archives: ClassVar[tuple[Archive, ...]] = (
        Archive(
            "https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz",
            "md5:97eceeb196236b17998738112f37df78",
        ),
    )

    def read(self) -> Items:
        root = self.folder()
        if (root / "CUB_200_2011").is_dir():  # the archive's own folder
            root = root / "CUB_200_2011"
        class_of = keyed(root / "image_class_labels.txt")
        name_of = keyed(root / "classes.txt")
        trains = keyed(root / "train_test_split.txt") if self.protocol == "seen-class" else {}
        rows = []
        for number, path in keyed(root / "images.txt").items():
            label = look_up(class_of, number, root / "image_class_labels.txt")
            if self.protocol == "seen-class":
                first = look_up(trains, number, root / "train_test_split.txt") == "1"
            else:
                first = integer(label, root / "image_class_labels.txt") <= CLASSES // 2
            name = look_up(name_of, label, root / "classes.txt")
            rows.append((path, name, "train" if first else "test"))
        paths = [root / "images" / path for path, *_ in rows]
        require_files(paths)
        ids = [path for path, *_ in rows]
        names, splits = [name for _, name, _ in rows], [split for *_, split in rows]
        return Items.build(paths, names, splits, ids, self.protocol)


def keyed(path):
    """Returns {number: word} of a file of lines `NUMBER WORD`."""
    return {number: word for number, word in read_rows(path, columns=2)}


def look_up(words, number, path):
    """Returns the word of a number.

    Raises:
        DataError: The file that they were read from has none for it.
    """
    if number not in words:
        raise DataError(path, f"corrupt: it has no line for number {number}")
    return words[number]
