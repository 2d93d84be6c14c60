"""A table of images: a CSV or Parquet file with the columns path, label and perhaps others."""

import os
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from dml._storage.columns import read_parquet
from dml.datasets.base import DATASETS, DatasetPart, require_files
from dml.datasets.folder import VALIDATION_TESTS, check_test
from dml.datasets.items import SPLIT_NAMES, Items, protocol_of, split_named
from dml.images._files import LeftOut, is_utf8

MOST_BYTES = 2**32  # of a table's values
DAMAGE = (  # what pandas raises for damaged files, and pyarrow beside its own
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

    A `split` is `train`, `val`, `test`, `query` or `gallery`, in any case, or one of their other
    common names. Without a test split, `val` is the test, which nothing is chosen by. Without a
    column `split`, `test_fraction` of the classes are set apart as the test split; with the
    protocol `seen-class`, that share of each class's images.
    A `super_label` is the kind of thing that a class is, for samplers that want it.
    Labels may be text or integers of any size. In a CSV file, labels are integers if all of them
    are written as integers without leading zeros, and text otherwise.

    Args:
        root: The `.csv` or `.parquet` file.
        validation_fraction: Share of the training classes set apart for validation, where no
            `val` split is listed. In [0, 1).
        validation_seed: Which classes these are. At least 0.
        validation: `classes`, or `images`: that share of each class's images instead.
        test_fraction: Share of the classes, or of each one's images, that test, where no split is
            listed. In [0, 1).
        test_seed: Which these are. At least 0.
        protocol: `zero-shot`: other classes test; `seen-class`: other images of the same classes.
            Where splits are listed, they make the protocol.
    """

    test_fraction: float = 0.2
    test_seed: int = 0
    protocol: str = "zero-shot"

    name: ClassVar[str] = "table"
    protocols: ClassVar[tuple[str, ...]] = ("zero-shot", "seen-class")

    def __post_init__(self):
        super().__post_init__()
        check_test(self.test_fraction, self.test_seed)

    def folder(self):
        if not self.root:
            raise FileNotFoundError("which table? Set --dataset.root to a .csv or .parquet file")
        return super().folder()

    def read(self):
        file = self.folder()
        frame = read_frame(file, COLUMNS)
        for column in (*REQUIRED, *({"super_label"} & set(frame.columns))):
            if column not in frame.columns:
                found = ", ".join(map(str, frame.columns))
                raise ValueError(f"{file}: no column {column!r}; it has {found}")
            if len(empty := frame.index[frame[column].isna()]):
                raise ValueError(f"{file}: row {empty[0] + 1} has no {column}")
        names = frame["label"].tolist()
        if file.suffix.lower() == ".csv" and all(map(INTEGER.fullmatch, names)):
            names = [int(name) for name in names]
        has_splits, notes = "split" in frame, []
        splits = frame["split"].tolist() if has_splits else ["train"] * len(frame)
        for row, split in enumerate(splits):
            splits[row] = split_named(split)
            if splits[row] is None:
                known = ", ".join(SPLIT_NAMES)
                raise ValueError(
                    f"{file}: split must be one of {known}; row {row + 1} has {split!r}"
                )
        if "val" in splits and not {"test", "query"} & set(splits):
            splits = ["test" if split == "val" else split for split in splits]
            notes.append(VALIDATION_TESTS.format("val"))
        listed = frame["path"].astype(str).tolist()
        if len(repeated := frame.index[frame["path"].duplicated()]):
            row = repeated[0]
            raise ValueError(f"{file}: row {row + 1} lists {listed[row]} a second time")
        supers = frame["super_label"].tolist() if "super_label" in frame else None
        left_out = LeftOut()
        taken = [row for row, path in enumerate(listed) if left_out.takes_listed(path)]
        if not taken:
            raise ValueError(f"{file}: no images in it; {left_out}")
        listed, names, splits = ([of[row] for row in taken] for of in (listed, names, splits))
        paths = [os.path.join(file.parent, path) for path in listed]
        require_files(paths)
        items = Items.build(
            paths,
            names,
            splits,
            listed,
            protocol_of(names, splits) if has_splits else self.protocol,
            supers and [supers[row] for row in taken],
            notes=[*notes, str(left_out)] if left_out else notes,
        )
        return items if has_splits else items.with_test(self.test_fraction, self.test_seed)


def read_frame(path, columns=None):
    """Returns the table in a CSV or Parquet file. CSV is all text; integers stay integers.

    Args:
        path: The file.
        columns: Of a Parquet file only these are read, if they are there, and `REQUIRED` must be;
            None for all.

    Raises:
        ValueError: It is neither, or corrupt, or empty.
    """
    import pyarrow

    suffix = Path(path).suffix.lower()
    if suffix not in (".csv", ".parquet"):
        raise ValueError(f"{path}: expected a .csv or .parquet file")
    if not Path(path).is_file():
        raise ValueError(f"{path}: not a regular file")
    try:
        if suffix == ".csv":
            frame = read_csv(path)
        else:
            frame = read_parquet(path, checked_columns(path, columns))
    except UnicodeDecodeError as error:
        fault = f"{first_not_utf8(path)}: save it as UTF-8" if suffix == ".csv" else error
        raise ValueError(f"{path}: {fault}") from None
    except (pyarrow.ArrowException, *DAMAGE) as error:
        raise ValueError(f"{path}: can't be read as a table: {error}") from None
    if not len(frame):
        raise ValueError(f"{path}: the table has no rows")
    return frame


def checked_columns(path, columns):
    """Returns which columns of a Parquet file are read, and refuses what it unpacks to.

    A few bytes can say that a long text occurs a billion times, so that texts are counted by how
    often each occurs.

    Args:
        path: The file.
        columns: As of `read_frame`.

    Raises:
        ValueError: It has no path or label, lists in a column, or more than `MOST_BYTES`.
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
                lengths = pc.binary_length(part.dictionary)
                size += pc.sum(lengths.take(part.indices)).as_py() or 0
    if size > MOST_BYTES:
        raise ValueError(f"it unpacks to more than {MOST_BYTES // 2**30} GiB")
    return [field.name for field in fields]


def read_csv(path):
    """Returns the table in a CSV file, as text: pandas would read 01 as 1, and NA as missing.

    Spaces behind commas and around names are no part of them, nor are commas at the end of lines.
    """
    import pandas as pd

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)
        try:
            options = {"dtype": str, "keep_default_na": False, "na_values": [""]}
            options |= {"index_col": False, "skipinitialspace": True}
            frame = pd.read_csv(path, **options)
            # As they are: of two equal names pandas makes another one.
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
    """Returns which line of a file is the first that is not UTF-8, in words."""
    with open(path, "rb") as file:
        for number, line in enumerate(file, start=1):
            if b"\0" in line or not is_utf8(os.fsdecode(line)):
                return f"line {number} is not UTF-8 text"
    return "it is not UTF-8 text"
