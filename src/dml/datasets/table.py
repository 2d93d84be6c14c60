"""A table of images: a CSV or Parquet file with the columns path, label and optional others."""

import os
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import Any, ClassVar

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
        # Of Parquet files, the frame holds no others.
        columns = frame.columns if file.suffix.lower() == ".csv" else read_schema(file).names
        unread = [name for name in columns if name not in _COLUMNS]
        for column in (*REQUIRED, *({"super_label"} & set(frame.columns))):
            if column not in frame.columns:
                found = ", ".join(map(str, frame.columns))
                raise DataError(file, f"no column {column!r}; it has {found}")
            if len(empty := np.flatnonzero(frame[column].isna())):
                raise DataError(file, f"row {empty[0] + 1} has no {column}")
        texts = {}  # one for all images of a class
        names = [texts.setdefault(n, n) for n in map(_stripped, frame.pop("label").to_numpy())]
        if "" in texts:
            raise DataError(file, f"row {names.index('') + 1} has no label")
        if file.suffix.lower() == ".csv":
            names = as_integers(names)
        names = sets_of_labels(
            names, self.label_separator, lambda row, text: DataError(file, f"row {row + 1} {text}")
        )
        has_splits, notes = "split" in frame, []
        if unread:
            notes.append(unread_columns(unread))
        splits = []
        for row, name in enumerate(
            frame.pop("split").to_numpy() if has_splits else ["train"] * len(frame)
        ):
            split = split_named(name)
            if split is None:
                known = ", ".join(SPLIT_NAMES)
                raise DataError(file, f"split must be one of {known}; row {row + 1} has {name!r}")
            splits.append(split)
        check_complete(splits, file)
        if "val" in splits and not {"test", "query"} & set(splits):
            splits = ["test" if split == "val" else split for split in splits]
            notes.append(VALIDATION_TESTS.format("val"))
        listed, units = images_of(frame, file)
        if units:
            notes.append(units)
        ids, paths, files, left_out = [], [], {}, LeftOut()
        taken = np.zeros(len(frame), bool)
        folder = os.path.abspath(file.parent)
        for row, (text, image) in enumerate(zip(texts_of(frame["path"]), listed, strict=True)):
            ids.append(str(image))
            if left_out.takes_listed(text):
                taken[row] = True
                whole = image.absolute(folder)
                paths.append(str(whole))
                files.update(dict.fromkeys(whole.files))
        if (twice := first_repeated(ids)) is not None:
            raise DataError(file, f"row {twice + 1} lists {ids[twice]} a second time")
        if not paths:
            raise DataError(file, f"no images in it; {left_out}")
        require_files(files, listed_in(file))
        if left_out:
            frame = frame[taken]
            names, splits, ids = (list(compress(x, taken)) for x in (names, splits, ids))
        items = Items.build(
            paths,
            names,
            splits,
            ids,
            protocol_of_sets(names, splits, self.label_separator) if has_splits else self.protocol,
            frame["super_label"].tolist() if "super_label" in frame else None,
            notes=[*notes, str(left_out)] if left_out else notes,
            cameras=frame["camera"].tolist() if "camera" in frame else None,
            sequences=frame["sequence"].tolist() if "sequence" in frame else None,
            separator=self.label_separator,
        )
        fractions = self.test_fraction, self.validation_fraction
        check_held_out(items, has_splits, *fractions, self.validation)
        return items if has_splits else items.with_test(self.test_fraction, self.test_seed)


def _stripped(label: Any) -> Any:
    """Returns a label without spaces around it, if it is text."""
    return label.strip() if isinstance(label, str) else label
