"""A folder of images: one folder per class, perhaps inside one folder per split."""

import os
from dataclasses import dataclass
from typing import ClassVar

from dml.datasets.base import DATASETS, DatasetPart
from dml.datasets.items import Items
from dml.files import FORMATS, LeftOut, image_files

SPLIT_FOLDERS = ("train", "val", "test")


@DATASETS.register("folder")
@dataclass(frozen=True)
class Folder(DatasetPart):
    """Images in a folder per class: `root/CLASS/any/depth/image.jpg`.

    If `root` holds folders named `train` and `test` (and perhaps `val`), these are the splits and
    the class folders lie in them; `test` alone serves evaluation. Otherwise `test_fraction` of the
    classes are set apart as the test split, so that its figures are on classes that were never
    trained on.

    Args:
        root: The folder.
        validation_fraction: Share of the training classes set apart for validation. In [0, 1).
        validation_seed: Which classes these are. At least 0.
        validation: `classes`, or `images`: that share of each class's images instead.
        test_fraction: Share of the classes that test, where no folder says so. In [0, 1); 0
            trains on all of them.
        test_seed: Which classes these are. At least 0.
    """

    test_fraction: float = 0.2
    test_seed: int = 0

    name: ClassVar[str] = "folder"

    def __post_init__(self):
        super().__post_init__()
        check_test(self.test_fraction, self.test_seed)

    def folder(self):
        if not self.root:
            raise FileNotFoundError("which folder? Set --dataset.root to a folder of class folders")
        return super().folder()

    def read(self):
        root = self.folder()
        if not root.is_dir():
            raise ValueError(f"{root} is a file: expected a folder with one folder per class")
        splits = split_folders(root)
        left_out = LeftOut()
        rows = []
        for split in splits or [""]:
            found = class_images(root / split, left_out)
            if not found:
                there = f"; {left_out}" if left_out else ""
                raise ValueError(
                    f"{root / split}: no images in class folders, CLASS/IMAGE "
                    f"({', '.join(FORMATS)}){there}"
                )
            rows += [(*row, split or "train") for row in found]
        paths, names, split_of_row = zip(*rows, strict=True)
        ids = [os.path.relpath(path, root) for path in paths]
        seen = {n for n, s in zip(names, split_of_row, strict=True) if s == "train"}
        tested = {n for n, s in zip(names, split_of_row, strict=True) if s == "test"}
        protocol = "seen-class" if seen & tested else "zero-shot"
        notes = [str(left_out)] if left_out else []
        items = Items.build(paths, names, split_of_row, ids, protocol, notes=notes)
        return items if splits else items.with_test(self.test_fraction, self.test_seed)


def check_test(fraction, seed):
    """Refuses a share of the classes outside [0, 1) and a negative seed."""
    if not 0 <= fraction < 1 or seed < 0:
        raise ValueError(
            f"test_fraction must be in [0, 1) and test_seed at least 0; got {fraction}, {seed}"
        )


def split_folders(root):
    """Returns which of `SPLIT_FOLDERS` are the splits of a folder; none if it holds classes.

    Raises:
        ValueError: There are such folders and nothing else, but not those that are needed.
    """
    inside = {e.name for e in os.scandir(root) if e.is_dir() and not e.name.startswith(".")}
    splits = [name for name in SPLIT_FOLDERS if name in inside]
    if {"train", "test"} <= inside or inside == {"test"}:
        return splits
    if inside and inside <= set(SPLIT_FOLDERS):  # they would pass for classes
        names = " and ".join(f"{name}/" for name in splits)
        raise ValueError(
            f"{root} holds only {names}, where dml reads train/ and test/: rename one, or set "
            f"--dataset.root to {root / splits[0]}"
        )
    return []


def class_images(root, left_out):
    """Returns (path, class) of the images in a folder's class folders, in order of their names."""
    found = []
    for path in image_files(root, left_out):
        if os.sep in path:
            found.append((os.path.join(root, path), path.split(os.sep)[0]))
        else:
            left_out["outside class folders"] += 1
    return found
