"""Caltech-UCSD Birds-200-2011 (Wah et al., CNS-TR-2011-001)."""

from dataclasses import dataclass
from typing import ClassVar

from dml.datasets._files import integer, read_rows, require_files
from dml.datasets.base import DATASETS, Archive, DatasetPart
from dml.datasets.items import Items
from dml.errors import DataError

_CLASSES = 200


@DATASETS.register("cub200")
@dataclass(frozen=True)
class CUB200(DatasetPart):
    """11,788 photographs of 200 species of birds, bounding boxes unused.

    Args:
        root: Folder of `images.txt`, `image_class_labels.txt`, `classes.txt` and `images/`;
            empty looks for `CUB_200_2011` or `cub200` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
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
        class_of = _keyed(root / "image_class_labels.txt")
        name_of = _keyed(root / "classes.txt")
        trains = _keyed(root / "train_test_split.txt") if self.protocol == "seen-class" else {}
        rows = []
        for number, path in _keyed(root / "images.txt").items():
            label = _look_up(class_of, number, root / "image_class_labels.txt")
            if self.protocol == "seen-class":
                first = _look_up(trains, number, root / "train_test_split.txt") == "1"
            else:
                first = integer(label, root / "image_class_labels.txt") <= _CLASSES // 2
            name = _look_up(name_of, label, root / "classes.txt")
            rows.append((path, name, "train" if first else "test"))
        paths = [root / "images" / path for path, *_ in rows]
        require_files(paths)
        ids = [path for path, *_ in rows]
        names, splits = [name for _, name, _ in rows], [split for *_, split in rows]
        return Items.build(paths, names, splits, ids, self.protocol)


def _keyed(path):
    """Returns {number: word} of a file of lines `NUMBER WORD`."""
    return {number: word for number, word in read_rows(path, columns=2)}


def _look_up(words, number, path):
    """Returns the word of a number.

    Raises:
        DataError: The file that they were read from has none for it.
    """
    if number not in words:
        raise DataError(path, f"corrupt: it has no line for number {number}")
    return words[number]
