"""A folder of images: one folder per class, optionally inside one folder per split."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dml.datasets._splits import (
    SPLIT_NAMES,
    SPLITS,
    VALIDATION_TESTS,
    protocol_of,
    split_named,
)
from dml.datasets.base import DATASETS, _UserDataset
from dml.datasets.items import Items
from dml.errors import DataError, MissingDataError
from dml.images._files import FORMATS, LeftOut, image_files, is_seen


@DATASETS.register("folder")
@dataclass(frozen=True)
class Folder(_UserDataset):
    """Images in a folder per class: `root/CLASS/any/depth/image.jpg`.

    If `root` holds folders named `train` and `test` (and perhaps `val`), these are the splits and
    the class folders lie in them; likewise `query` and `gallery` instead of `test`. Case does not
    matter, and other common names are recognised: `training`, `testing`, `evaluation`, `valid`,
    `validation`, `dev`, also as in `test_set` and `train-images`. A folder with `test` alone can be
    evaluated on. Without a test split, `val` becomes the test split and is not used for model
    selection.

    Otherwise `test_fraction` of the classes are held out as the test split, so that it has classes
    that were never trained on; with the protocol `seen-class`, that share of each class's images is
    held out.

    Args:
        root: The folder.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
        test_fraction: Share of the classes, or of each one's images, in the test split, if no
            folder names it. In [0, 1); 0 trains on all of them.
        test_seed: Seed of this selection. At least 0.
        protocol: `zero-shot` tests on other classes, `seen-class` on other images of the same
            classes. If folders name the splits, they decide the protocol.
    """

    name: ClassVar[str] = "folder"

    def folder(self) -> Path:
        if not self.root:
            raise MissingDataError(self.name, "set --dataset.root to a folder of class folders")
        return super().folder()

    def read(self) -> Items:
        root = self.folder()
        if not root.is_dir():
            raise DataError(root, "is a file: expected a folder with one folder per class")
        left_out, notes = LeftOut(), []
        splits = _split_folders(root, notes)
        rows = []
        for name, split in splits.items() or [("", "train")]:
            found = _class_images(root / name, left_out)
            if not found:
                there = f"; {left_out}" if left_out else ""
                raise DataError(
                    root / name,
                    f"no images in class folders, CLASS/IMAGE ({', '.join(FORMATS)}){there}",
                )
            rows += [(*row, split) for row in found]
        paths, names, split_of_row = zip(*rows, strict=True)
        ids = [os.path.relpath(path, root) for path in paths]
        protocol = protocol_of(names, split_of_row) if splits else self.protocol
        if left_out:
            notes.append(str(left_out))
        items = Items.build(paths, names, split_of_row, ids, protocol, notes=notes)
        return items if splits else items.with_test(self.test_fraction, self.test_seed)


def _split_folders(root: Path, notes: list[str]) -> dict[str, str]:
    """Returns {name: split} of the folders of splits in a folder; empty if it holds classes.

    Args:
        root: The folder.
        notes: A list to which lines for the user are added.

    Raises:
        DataError: Folders that are needed are missing, or two folders name one split.
    """
    inside = sorted(
        entry.name
        for entry in os.scandir(root)
        if os.path.isdir(entry)  # `entry` itself raises an error for links that go in a circle
        and is_seen(entry.name)
    )
    named = {name: SPLIT_NAMES[name.lower()] for name in inside if name.lower() in SPLIT_NAMES}
    longer = {name: split_named(name) for name in inside if name not in named}
    taken = set(named.values())
    named |= {name: split for name, split in longer.items() if split and split not in taken}
    splits = set(named.values())
    others = [name for name in inside if name not in named]
    tests = splits & {"val", "test"} or {"query", "gallery"} <= splits
    if not named or (others and not (tests and "train" in splits)):
        return {}  # a class may be named `train`
    folders = " and ".join(f"{name}/" for name in named)
    if len(splits) < len(named):
        raise DataError(root, f"holds {folders}, two of which name one split: rename one")
    if not tests or len(splits & {"query", "gallery"}) == 1:  # they would be taken for classes
        raise DataError(
            root,
            f"holds {folders}, where dml reads train/ and test/, or train/, query/ and gallery/: "
            f"rename one, or set --dataset.root to {root / next(iter(named))}",
        )
    if others:
        notes.append(f"not read: {', '.join(others)} (next to {folders})")
    if not splits & {"test", "query"}:
        name = next(name for name, split in named.items() if split == "val")
        named[name] = "test"
        notes.append(VALIDATION_TESTS.format(f"{name}/"))
    return dict(sorted(named.items(), key=lambda item: SPLITS.index(item[1])))


def _class_images(root: str | os.PathLike[str], left_out: LeftOut) -> list[tuple[str, str]]:
    """Returns (path, class) of the images in a folder's class folders, in order of their names."""
    found = []
    for path in image_files(root, left_out):
        if os.sep in path:
            found.append((os.path.join(root, path), path.split(os.sep)[0]))
        else:
            left_out["outside class folders"] += 1
    return found
