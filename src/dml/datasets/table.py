"""A table of images: a CSV or Parquet file with the columns path, label and optional others."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from dml._arrays import first_repeated
from dml._storage.cells import read_schema
from dml.datasets._files import listed_in, require_files, unread_columns
from dml.datasets._frames import REQUIRED, read_frame
from dml.datasets._label_sets import (
    as_integers,
    check_held_out,
    protocol_of_sets,
    sets_of_labels,
)
from dml.datasets._regions import REGION_COLUMNS, SOURCE_COLUMNS, images_of, texts_of
from dml.datasets._splits import SPLIT_NAMES, VALIDATION_TESTS, check_complete, split_named
from dml.datasets.base import DATASETS, _UserDataset
from dml.datasets.items import Items
from dml.errors import DataError, MissingDataError
from dml.images._files import LeftOut
from dml.images._references import ImageRef

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (*REQUIRED, "split", "super_label", *SOURCE_COLUMNS, *REGION_COLUMNS)


@DATASETS.register("table")
@dataclass(frozen=True)
class Table(_UserDataset):
    """Images listed in `path,label` and other columns; paths are relative to the table's folder.

    A path may also be a member of an archive, `ARCHIVE.zip!MEMBER` or `SHARD.tar!MEMBER`.

    With the columns `x0`, `y0`, `x1` and `y1`, each row is the part of its image in this box,
    wherever the image is read: columns of pixels from `x0` to before `x1`, rows from `y0` to
    before `y1`, in the upright image. The numbers are shares of width and height if none in the
    table exceeds 1, and pixels otherwise. With the column `mask`, the path of an image of the same
    size, pixels that are black in the mask become white.

    `camera` and `sequence` name the camera that took an image, and the video or burst of photos
    that it belongs to; they may be empty. `evaluation.exclude` leaves a query's own out of its
    search.

    A `split` is `train`, `val`, `test`, `query` or `gallery`, in any case, or one of its other
    common names. Without a test split, `val` becomes the test split and is not used for model
    selection. Without a column `split`, `test_fraction` of the classes are held out as the test
    split; with the protocol `seen-class`, that share of each class's images is held out. A
    `super_label` is the category of a class, for samplers that use it. Labels may be text or
    integers of any size. In a CSV file, labels are integers if all of them are written as integers
    without leading zeros, and text otherwise.

    Args:
        root: The `.csv` or `.parquet` file.
        validation_fraction: Share of the training classes held out for validation, where no
            `val` split is listed. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
        test_fraction: Share of the classes, or of each one's images, in the test split, if no
            splits are listed. In [0, 1).
        test_seed: Seed of this selection. At least 0.
        protocol: `zero-shot` tests on other classes, `seen-class` on other images of the same
            classes. If splits are listed, they decide the protocol.
        label_separator: What is between the labels of a cell, such as `|` in `red|shoe`; empty if
            each is one label. Images that share a label are then positives, and splits, if they
            are not listed, hold out images: `protocol` must be `seen-class`, and `validation`
            `images`.
    """

    label_separator: str = ""

    name: ClassVar[str] = "table"

    def folder(self) -> Path:
        if not self.root:
            raise MissingDataError(self.name, "set --dataset.root to a .csv or .parquet file")
        return super().folder()

    def read(self) -> Items:
        file = self.folder()
        frame = read_frame(file, _COLUMNS)
        notes = [unread_columns(unread)] if (unread := _unread(file, frame)) else []
        _check_columns(file, frame)
        names = self._label_sets(file, frame.pop("label"))
        splits, note = (None, "") if "split" not in frame else _splits(file, frame.pop("split"))
        listed, units = images_of(frame, file)
        ids, paths, taken, left_out = _images(file, texts_of(frame["path"]), listed)
        notes += [text for text in (note, units, str(left_out) if left_out else "") if text]
        if left_out:
            frame, names = frame[taken], list(compress(names, taken))
            splits = splits and list(compress(splits, taken))
        protocol = self.protocol
        if splits is not None:
            protocol = protocol_of_sets(names, splits, self.label_separator)
        items = Items.build(
            paths,
            names,
            splits or ["train"] * len(paths),
            ids,
            protocol,
            _names(frame, "super_label"),
            notes=notes,
            cameras=_names(frame, "camera"),
            sequences=_names(frame, "sequence"),
            separator=self.label_separator,
        )
        fractions = self.test_fraction, self.validation_fraction
        check_held_out(items, splits is not None, *fractions, self.validation)
        if splits is not None:
            return items
        return items.with_test(self.test_fraction, self.test_seed)

    def _label_sets(self, file: Path, column: "pd.Series") -> list[Any]:
        """Returns the label of each row, or its labels if cells hold several."""
        texts = {}  # one for all images of a class
        names = [texts.setdefault(n, n) for n in map(_stripped, column.to_numpy())]
        if "" in texts:
            raise DataError(file, f"row {names.index('') + 1} has no label")
        if file.suffix.lower() == ".csv":
            names = as_integers(names)
        return sets_of_labels(
            names, self.label_separator, lambda row, text: DataError(file, f"row {row + 1} {text}")
        )


def _unread(file: Path, frame: "pd.DataFrame") -> list[str]:
    """Returns the columns of the file that are of no use here."""
    # Of Parquet files, the frame holds no others.
    columns = frame.columns if file.suffix.lower() == ".csv" else read_schema(file).names
    return [name for name in columns if name not in _COLUMNS]


def _check_columns(file: Path, frame: "pd.DataFrame") -> None:
    """Raises DataError if a column or one of its cells is missing."""
    for column in (*REQUIRED, *({"super_label"} & set(frame.columns))):
        if column not in frame.columns:
            found = ", ".join(map(str, frame.columns))
            raise DataError(file, f"no column {column!r}; it has {found}")
        _check_filled(file, frame[column])


def _check_filled(file: Path, column: "pd.Series") -> None:
    """Raises DataError if a cell of a column is empty."""
    if len(empty := np.flatnonzero(column.isna())):
        raise DataError(file, f"row {empty[0] + 1} has no {column.name}")


def _splits(file: Path, column: "pd.Series") -> tuple[list[str], str]:
    """Returns the split of each row, and a note if validation images become test images."""
    _check_filled(file, column)
    splits = []
    for row, name in enumerate(column.to_numpy()):
        split = split_named(name)
        if split is None:
            known = ", ".join(SPLIT_NAMES)
            raise DataError(file, f"split must be one of {known}; row {row + 1} has {name!r}")
        splits.append(split)
    check_complete(splits, file)
    if "val" in splits and not {"test", "query"} & set(splits):
        return ["test" if x == "val" else x for x in splits], VALIDATION_TESTS.format("val")
    return splits, ""


def _images(
    file: Path, texts: Iterable[str], listed: Iterable[ImageRef]
) -> tuple[list[str], list[str], list[bool], LeftOut]:
    """Returns the images of a table: their ids, absolute references, rows, and what is left out.

    Args:
        file: The table.
        texts: Each row's path.
        listed: Each row's image, relative to the table's folder.

    Raises:
        DataError: An image is listed twice, there is none, or a file is missing.
    """
    ids, paths, taken, files, left_out = [], [], [], {}, LeftOut()
    folder = os.path.abspath(file.parent)
    for text, image in zip(texts, listed, strict=True):
        ids.append(str(image))
        taken.append(left_out.takes_listed(text))
        if taken[-1]:
            whole = image.absolute(folder)
            paths.append(str(whole))
            files.update(dict.fromkeys(whole.files))
    if not paths:
        raise DataError(file, f"no images in it; {left_out}")
    if (twice := first_repeated(paths)) is not None:  # perhaps as `a.jpg` and as `./a.jpg`
        row = int(np.flatnonzero(taken)[twice])
        raise DataError(file, f"row {row + 1} lists {ids[row]} a second time")
    require_files(files, listed_in(file))
    if left_out:
        ids = list(compress(ids, taken))
    return ids, paths, taken, left_out


def _names(frame: "pd.DataFrame", column: str) -> list[Any] | None:
    """Returns the names in a column without spaces around them; None if there is no such column."""
    return list(map(_stripped, frame[column].tolist())) if column in frame else None


def _stripped(label: Any) -> Any:
    """Returns a label without spaces around it, if it is text."""
    return label.strip() if isinstance(label, str) else label
