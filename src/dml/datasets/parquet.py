"""Parquet and Arrow files with the bytes of images, such as those of Hugging Face's `datasets`."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from dml._storage.cells import read_schema
from dml.datasets._frames import read_values
from dml.datasets._hugging_face import PREFIX, find_folder, saved_files
from dml.datasets._image_columns import (
    class_labels,
    further_columns,
    further_names,
    image_column,
    labels_of,
)
from dml.datasets._shards import Sample, Shard, ShardedDataset
from dml.datasets._splits import split_named, without_partial
from dml.datasets.base import DATASETS
from dml.errors import DataError, MissingDataError
from dml.images._files import LeftOut
from dml.images._references import CellRef

_SPLIT = "split"  # the column, where it has this usual name


@DATASETS.register("parquet")
@dataclass(frozen=True)
class Parquet(ShardedDataset):
    """Images in a column of Parquet or Arrow files: bytes, or structs with `bytes`.

    The files may be those of Hugging Face's `datasets`: a folder that `save_to_disk` wrote, Parquet
    files of a repository, or, with the extra `hf`, a data set of the hub by its name. Classes have
    the names that such files say.

    Columns `x0`, `y0`, `x1`, `y1`, `mask`, `camera` and `sequence` are read as from a `Table`; a
    mask is an image in its cell, or the path of one, relative to the file's folder.

    Files or folders named `train`, `val`, `test`, `query` or `gallery`, or by one of their other
    common names, as in `train-00000-of-00002.parquet` or `test/0000.parquet`, are these splits.
    Without a test split, `val` becomes the test split and is not used for model selection.
    Otherwise `test_fraction` of the classes are held out as the test split; with the protocol
    `seen-class`, that share of each class's images is held out.

    Args:
        root: A `.parquet` or `.arrow` file, a folder that holds such files, a pattern such as
            `data/train-*.parquet`, or `hf:NAME_OR_PATH[:SPLIT]`, such as `hf:ylecun/mnist:train`:
            a folder, or a data set of the hub as ORGANIZATION/NAME[/CONFIGURATION].
        validation_fraction: Share of the training classes held out for validation, where no
            file is named `val`. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
        test_fraction: Share of the classes, or of each one's images, in the test split, if no
            file is named so. In [0, 1).
        test_seed: Seed of this selection. At least 0.
        protocol: `zero-shot` tests on other classes, `seen-class` on other images of the same
            classes. If there is a test split, it decides the protocol.
        label: Column that holds the class, text or integers; with a `label_separator`, also lists
            of them.
        image: Column that holds the image; empty takes the only one.
        split: Column that holds the split; empty takes it from the names of the files or, where
            these say nothing, from a column `split`, if there is one.
        label_separator: What is between the labels of a cell, such as `|` in `red|shoe`, or is put
            between those of a list; empty if each is one label. As for `Table`.
    """

    label: str = "label"

    name: ClassVar[str] = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = CellRef.SUFFIXES

    def absolute_root(self) -> str:
        if self.root.startswith(PREFIX):
            path, split = find_folder(self.root, fetch=False)
            return f"{PREFIX}{os.path.abspath(path)}{split and ':'}{split}" if path else self.root
        return super().absolute_root()

    def shards(self) -> list[Shard]:
        if not self.root.startswith(PREFIX):
            return super().shards()
        folder, split = find_folder(self.root)
        shards = replace(self, root=folder).shards()
        if not split:
            return shards
        chosen = [replace(shard, split=None) for shard in shards if split in _words_of(shard.name)]
        if not chosen:
            names = ", ".join(shard.name for shard in shards[:5])
            raise MissingDataError(self.root, f"no file of the split {split!r} among {names}")
        return chosen

    def _below(self, folder):
        found, listed = [], {}
        for path in super()._below(folder):
            place = os.path.dirname(path)
            if place not in listed:
                listed[place] = saved_files(place)
            if listed[place] is None or os.path.basename(path) in listed[place]:
                found.append(path)
        return found

    def samples(self, shard: Shard, left_out: LeftOut) -> Iterator[Sample]:
        image = image_column(read_schema(shard.path), shard.path, self.image)
        labels = labels_of(shard.path, self.label, self.label_separator)
        splits = self._listed_splits(shard) or [None] * len(labels)
        path = os.path.abspath(shard.path)
        further = further_columns(path, image, len(labels))
        for row, (label, split) in enumerate(zip(labels, splits, strict=True)):
            if label is None:
                raise DataError(shard.path, f"row {row} has no {self.label}")
            columns = {name: values[row] for name, values in further.items()}
            yield Sample(CellRef(path, image, row), str(row), label, split, columns)

    def notes_on(self, shards: Sequence[Shard]) -> list[str]:
        folders = {os.path.dirname(shard.name) for shard in shards}
        parts = sorted(without_partial(name) for name in folders if name != without_partial(name))
        if not (self.root.startswith(PREFIX) and parts):
            return super().notes_on(shards)
        note = f"the hub holds only a part of the split {' and of '.join(parts)} as Parquet files"
        return [*super().notes_on(shards), note]

    def unread(self, shard: Shard) -> list[str]:
        schema = read_schema(shard.path)
        image = image_column(schema, shard.path, self.image)
        read = {image, self.label, *further_names(schema, image, shard.path)}
        if self._listed_splits(shard) is not None:
            read.add(self.split or _SPLIT)
        return [name for name in schema.names if name not in read]

    def _listed_splits(self, shard: Shard) -> list[str] | None:
        """Returns what a column says of each image's split; None if there is no such column.

        A column `split` none of whose values names a split is another one.
        """
        import pyarrow as pa

        schema, column = read_schema(shard.path), self.split or _SPLIT
        if not self.split and (
            shard.split
            or column not in schema.names
            or pa.types.is_nested(schema.field(column).type)
        ):
            return None
        names = dict(enumerate(class_labels(schema, column, shard.path) or ()))
        values = read_values(shard.path, [column])[column]
        named = [names.get(value, value) if isinstance(value, int) else value for value in values]
        splits = ["" if value is None else str(value) for value in named]
        return splits if self.split or any(map(split_named, set(splits))) else None


def _words_of(name: str) -> set[str]:
    """Returns what a shard's name may call its split: its folders, and its file without numbers."""
    *folders, file = name.split(os.sep)
    stem = re.sub(r"(-\d+-of-\d+(-[0-9a-f]+)?)?\.\w+$", "", file)
    return {*folders, *map(without_partial, folders), stem, stem.rpartition("-")[2]}
