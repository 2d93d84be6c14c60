"""The layouts in which Stanford Cars was published."""

from pathlib import PureWindowsPath

import numpy as np

from dml.datasets._files import find_file, require_files
from dml.datasets.items import Items
from dml.errors import DataError

_CLASSES = 196


def zero_shot(rows):
    """Returns the rows (path, class, split) with the first half of the classes as `train`."""
    return [(path, c, "train" if c <= _CLASSES // 2 else "test") for path, c, _ in rows]


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


def _read_mat(path, key):
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
    found = _read_mat(path, "annotations")
    if "class" not in (found.dtype.names or ()):
        raise DataError(path, "has no classes: the file with the labels is needed")
    return [(f"{folder}/{row['fname']}", int(row["class"]), split) for row in found]


def all_annotations(root):
    """Returns the rows of the older layout, `cars_annos.mat` and `car_ims/`."""
    found = _read_mat(root / "cars_annos.mat", "annotations")
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
        names = _read_mat(path, "class_names")
    else:
        names = _read_mat(
            find_file(root / "devkit" / "cars_meta.mat", root / "cars_meta.mat"), "class_names"
        )
    return {number: f"{number:03d} {name}" for number, name in enumerate(names, start=1)}
