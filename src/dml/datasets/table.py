"""A table of images: a CSV or Parquet file with the columns path, label and optional others."""

import os
import re
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from dml._storage.columns import read_parquet
from dml.datasets.base import DATASETS, DatasetPart, require_files
from dml.datasets.folder import VALIDATION_TESTS, check_test
from dml.datasets.items import SPLIT_NAMES, Items, protocol_of, split_named
from dml.errors import DataError, MissingDataError
from dml.images import ImageRef
from dml.images._files import LeftOut, is_utf8

if TYPE_CHECKING:
    import pandas as pd

MOST_BYTES = 2**32  # of a table's values
DAMAGE = (  # what pandas raises for damaged files, and pyarrow in addition to its own errors
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    NotImplementedError,
    OSError,
    TypeError,
    ValueError,
)
REQUIRED = ("path", "label")
COLUMNS = (*REQUIRED, "split", "super_label")
INTEGER = re.compile("0|-?[1-9][0-9]*")


@DATASETS.register("table")
@dataclass(frozen=True)
class Table(DatasetPart):
    """Images listed in `path,label[,split][,super_label]`; paths are relative to its folder.

    A path may also be a member of an archive, `ARCHIVE.zip!MEMBER` or `SHARD.tar!MEMBER`.

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
        validation: `classes` holds out whole classes; `images`, that share of each class's images.
        test_fraction: Share of the classes, or of each one's images, in the test split, if no
            splits are listed. In [0, 1).
        test_seed: Seed of this selection. At least 0.
        protocol: `zero-shot` tests on other classes, `seen-class` on other images of the same
            classes. If splits are listed, they decide the protocol.
    """

    test_fraction: float = 0.2
    test_seed: int = 0
    protocol: str = "zero-shot"

    name: ClassVar[str] = "table"
    protocols: ClassVar[tuple[str, ...]] = ("zero-shot", "seen-class")

    def __post_init__(self):
        super().__post_init__()
        check_test(self.test_fraction, self.test_seed)

    def folder(self) -> Path:
        if not self.root:
            raise MissingDataError(self.name, "set --dataset.root to a .csv or .parquet file")
        return super().folder()

    def read(self) -> Items:
        file = self.folder()
        frame = read_frame(file, COLUMNS)
        for column in (*REQUIRED, *({"super_label"} & set(frame.columns))):
            if column not in frame.columns:
                found = ", ".join(map(str, frame.columns))
                raise DataError(file, f"no column {column!r}; it has {found}")
            if len(empty := np.flatnonzero(frame[column].isna())):
                raise DataError(file, f"row {empty[0] + 1} has no {column}")
        names = frame["label"].tolist()
        if file.suffix.lower() == ".csv" and all(map(INTEGER.fullmatch, names)):
            names = [int(name) for name in names]
        has_splits, notes = "split" in frame, []
        splits = []
        for row, name in enumerate(frame["split"] if has_splits else ["train"] * len(frame)):
            split = split_named(name)
            if split is None:
                known = ", ".join(SPLIT_NAMES)
                raise DataError(file, f"split must be one of {known}; row {row + 1} has {name!r}")
            splits.append(split)
        if "val" in splits and not {"test", "query"} & set(splits):
            splits = ["test" if split == "val" else split for split in splits]
            notes.append(VALIDATION_TESTS.format("val"))
        listed = frame["path"].astype(str).tolist()
        if len(repeated := frame.index[frame["path"].duplicated()]):
            row = repeated[0]
            raise DataError(file, f"row {row + 1} lists {listed[row]} a second time")
        supers = frame["super_label"].tolist() if "super_label" in frame else None
        left_out = LeftOut()
        taken = [row for row, path in enumerate(listed) if left_out.takes_listed(path)]
        if not taken:
            raise DataError(file, f"no images in it; {left_out}")
        listed = [str(listed[row]) for row in taken]
        names, splits = [names[row] for row in taken], [splits[row] for row in taken]
        images = [ImageRef.parse(path).absolute(file.parent) for path in listed]
        require_files(image.container for image in images if image.container)
        items = Items.build(
            list(map(str, images)),
            names,
            splits,
            listed,
            protocol_of(names, splits) if has_splits else self.protocol,
            supers and [supers[row] for row in taken],
            notes=[*notes, str(left_out)] if left_out else notes,
        )
        return items if has_splits else items.with_test(self.test_fraction, self.test_seed)


def read_frame(
    path: str | os.PathLike[str], columns: Sequence[str] | None = None
) -> "pd.DataFrame":
    """Returns the table in a CSV or Parquet file. CSV is all text; integers stay integers.

    Args:
        path: The file.
        columns: Of a Parquet file only these are read, if they are there, and `REQUIRED` must be;
            None for all.

    Raises:
        DataError: It is neither, or corrupt, or empty.
    """
    import pyarrow

    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise DataError(path, "expected a .csv or .parquet file")
    if not Path(path).is_file():
        raise DataError(path, "not a regular file")
    try:
        if suffix == ".csv":
            frame = read_csv(path)
        else:
            frame = read_parquet(path, checked_columns(path, columns))
    except UnicodeDecodeError as error:
        reason = f"{first_not_utf8(path)}: save it as UTF-8" if suffix == ".csv" else str(error)
        raise DataError(path, reason) from None
    except (pyarrow.ArrowException, *DAMAGE) as error:
        raise DataError(path, f"can't be read as a table: {error}") from None
    if not len(frame):
        raise DataError(path, "the table has no rows")
    return frame


def checked_columns(path, columns):
    """Returns which columns of a Parquet file are read, after a check of its unpacked size.

    A few bytes can repeat a long text a billion times, so each text is counted as often as it
    occurs.

    Args:
        path: The file.
        columns: As for `read_frame`.

    Raises:
        ValueError: It has no path or label, lists in a column, or more than `MOST_BYTES`; without
            the name of the file, which `read_frame` adds.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as parquet

    schema = parquet.read_schema(path)
    if columns is not None and (absent := [n for n in REQUIRED if n not in schema.names]):
        raise ValueError(f"no column {absent[0]!r}; it has {', '.join(schema.names)}")
    fields = [field for field in schema if columns is None or field.name in columns]
    texts = []
    for field in fields:
        kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
        if pa.types.is_nested(kind):
            raise ValueError(
                f"column {field.name!r} holds {kind}: images have text, numbers, true or false "
                "and dates. Remove the column, or write it as text"
            )
        if kind in (pa.string(), pa.binary()):
            texts.append(field.name)
    file = parquet.ParquetFile(path, read_dictionary=texts)
    size = 8 * file.metadata.num_rows * len(fields)
    for group in range(file.metadata.num_row_groups):
        if size > MOST_BYTES:
            break
        for column in file.read_row_group(group, texts, use_threads=False).columns:
            for part in column.chunks:
                lengths = pc.call_function("binary_length", [part.dictionary])
                counted = pc.call_function("sum", [lengths.take(part.indices)])
                size += counted.as_py() or 0
    if size > MOST_BYTES:
        raise ValueError(f"it unpacks to more than {MOST_BYTES // 2**30} GiB")
    return [field.name for field in fields]


def read_csv(path):
    """Returns the table in a CSV file, as text: pandas would read 01 as 1, and NA as missing.

    Spaces after commas and around column names are dropped, and so are commas at the end of lines.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            options = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            options |= {"index_col": False, "skipinitialspace": True}
            frame = pd.read_csv(path, **options)
            # Read as data, since pandas renames the second of two equal names.
            names = pd.read_csv(path, header=None, nrows=1, **options).iloc[0].dropna()
        except pd.errors.ParserWarning:
            raise ValueError("rows have more fields than the first line has names") from None
    frame.columns = [str(name).strip() for name in frame.columns]
    names = names.str.strip()
    if len(twice := names[names.duplicated()]):
        raise ValueError(f"two columns have the name {twice.iloc[0]!r}")
    unnamed = [n for n in frame if n.startswith("Unnamed: ") and frame[n].isna().all()]
    return frame.drop(columns=unnamed)


def first_not_utf8(path):
    """Returns a message naming the first line of a file that is not UTF-8."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if b"\0" in line or not is_utf8(os.fsdecode(line)):
                return f"line {number} is not UTF-8 text"
    return "it is not UTF-8 text"
