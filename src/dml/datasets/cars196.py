"""Stanford Cars, known as Cars196 (Krause et al., 3DRR 2013)."""

from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import ClassVar

import numpy as np

from dml.datasets.base import DATASETS, DatasetPart, find_file, require_files
from dml.datasets.items import Items
from dml.errors import DataError

CLASSES = 196


@DATASETS.register("cars196")
@dataclass(frozen=True)
class Cars196(DatasetPart):
    """16,185 photographs of 196 models of cars, in either of the layouts it was published in.

    Args:
        root: Folder of `devkit/`, `cars_train/` and `cars_test/`, or of `cars_annos.mat` and
            `car_ims/`; empty looks for `cars196` in the folder that DML_DATA names.
        validation_fraction: Share of the training classes held out for validation. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes; `images`, that share of each class's images.
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


def zero_shot(rows):
    """Returns the rows (path, class, split) with the first half of the classes as `train`."""
    return [(path, c, "train" if c <= CLASSES // 2 else "test") for path, c, _ in rows]


def table(root, rows, names, protocol):
    """Returns the `Items` of rows (path below root, class 1..196, split).

    Raises:
        MissingDataError: An image is missing.
        DataError: An image is of a class that has no name.
    """
    for path, number, _ in rows:
        if number not in names:
            raise DataError(root / path, f"annotated as class {number}, which has no name")
    require_files(root / path for path, *_ in rows)
    return Items.build(
        [root / path for path, *_ in rows],
        [names[c] for _, c, _ in rows],
        [split for *_, split in rows],
        [path for path, *_ in rows],
        protocol,
    )


def read_mat(path, key):
    """Returns one variable of a MATLAB file.

    Raises:
        MissingDataError: The file is missing.
        DataError: It is corrupt.
    """
    from scipy.io import loadmat

    find_file(path)
    try:
        return np.atleast_1d(loadmat(path, squeeze_me=True)[key])
    except Exception as error:  # SciPy raises zlib's, its own and IndexError on damaged files
        raise DataError(path, f"corrupt, or lacks {key!r}: {error}") from None


def annotations(root, folder, split, files):
    """Returns the rows of one half of the newer layout, `devkit/` and a folder of images."""
    candidates = [root / where / name for name in files for where in ("devkit", ".")]
    path = find_file(*candidates)
    found = read_mat(path, "annotations")
    if "class" not in (found.dtype.names or ()):
        raise DataError(path, "has no classes: the file with the labels is needed")
    return [(f"{folder}/{row['fname']}", int(row["class"]), split) for row in found]


def all_annotations(root):
    """Returns the rows of the older layout, `cars_annos.mat` and `car_ims/`."""
    found = read_mat(root / "cars_annos.mat", "annotations")
    return [
        # Such as car_ims/000001.jpg
        (
            PureWindowsPath(str(row["relative_im_path"])).as_posix(),
            int(row["class"]),
            "test" if row["test"] else "train",
        )
        for row in found
    ]


def class_names(root):
    """Returns {class 1..196: its name, numbered because two pairs of classes share a name}."""
    path = root / "cars_annos.mat"
    if path.is_file():
        names = read_mat(path, "class_names")
    else:
        names = read_mat(
            find_file(root / "devkit" / "cars_meta.mat", root / "cars_meta.mat"), "class_names"
        )
    return {number: f"{number:03d} {name}" for number, name in enumerate(names, start=1)}
