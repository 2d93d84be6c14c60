"""Tar shards in the layout of WebDataset: the members of one sample share a name."""

import json
import os
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from dml._storage.archives import read_tar_directory, read_tar_part
from dml.datasets._label_sets import SEPARATOR_NEEDED, as_integers, joined_labels
from dml.datasets._regions import BOX, MASK, SOURCE_COLUMNS
from dml.datasets._shards import Sample, Shard, ShardedDataset
from dml.datasets._tar_samples import is_mask, samples_of
from dml.datasets.base import DATASETS
from dml.errors import DataError
from dml.images._files import FORMATS, LeftOut
from dml.images._references import TarPartRef

_MOST_BYTES = 2**20  # of a label or a JSON file
_COLUMNS = {*BOX, *SOURCE_COLUMNS}
_PACKED = "compressed: images are read in random order, which needs a plain .tar; unpack it"


@DATASETS.register("webdataset")
@dataclass(frozen=True)
class WebDataset(ShardedDataset):
    """Images in uncompressed tar shards: `0001.jpg` and `0001.cls` are one sample.

    A field of a sample is what follows the first dot in a member's name. Images are read from their
    places in the shards, in any order. Labels are integers if all of them are written as integers
    without leading zeros, and text otherwise.

    The columns of a `Table` for boxes, cameras and sequences are fields, as in `0001.camera`, or
    keys in the field `json`: `{"x0": 10, "y0": ...}`.
    A mask is the image `0001.mask.png`.

    Shards or folders named `train`, `val`, `test`, `query` or `gallery`, or by one of their other
    common names, as in `train-000.tar` or `test/000.tar`, are these splits. Without a test split,
    `val` becomes the test split and is not used for model selection. Otherwise `test_fraction` of
    the classes are held out as the test split; with the protocol `seen-class`, that share of each
    class's images is held out.

    Args:
        root: A `.tar` file, a folder that holds such files, or a pattern such as
            `shards/train-{000..015}.tar` or `shards/*.tar`.
        validation_fraction: Share of the training classes held out for validation, where no
            shard is named `val`. In [0, 1).
        validation_seed: Seed of this selection. At least 0.
        validation: `classes` holds out whole classes or, where the share is fewer than two, images
            of every class; `images`, that share of each class's images.
        test_fraction: Share of the classes, or of each one's images, in the test split, if no
            shard is named so. In [0, 1).
        test_seed: Seed of this selection. At least 0.
        protocol: `zero-shot` tests on other classes, `seen-class` on other images of the same
            classes. If there is a test split, it decides the protocol.
        label: Field that holds the class: `cls`, `txt`, or a value in a JSON field, such as
            `json.category`.
        image: Field that holds the image, such as `jpg` or `left.jpg`; empty takes the only one.
        split: Field that holds the split, such as `json.split`; empty takes it from the names of
            the shards.
        label_separator: What is between the labels in a field, such as `|` in `red|shoe`, or is put
            between those of a list in JSON; empty if each is one label. As for `Table`.
    """

    label: str = "cls"

    name: ClassVar[str] = "webdataset"
    suffixes: ClassVar[tuple[str, ...]] = (".tar",)
    refused: ClassVar[dict[str, str]] = {
        **dict.fromkeys((".tar.gz", ".tgz"), f"{_PACKED} with gunzip"),
        **dict.fromkeys((".tar.bz2", ".tbz2", ".tbz"), f"{_PACKED} with bunzip2"),
        **dict.fromkeys((".tar.xz", ".txz"), f"{_PACKED} with unxz"),
        **dict.fromkeys((".tar.zst", ".tzst"), f"{_PACKED} with unzstd"),
    }

    def samples(self, shard: Shard, left_out: LeftOut) -> Iterator[Sample]:
        members = read_tar_directory(shard.path)
        for key, fields in samples_of(members).items():
            image = self._image(shard, key, fields)
            if image is None:
                left_out["without an image"] += 1
                continue
            reader = _Fields(shard.path, key, fields, members)
            label = reader.value(self.label, "label", self.label_separator)
            split = str(reader.value(self.split, "split")) if self.split else None
            columns = reader.columns()
            if mask := self._mask(fields):
                columns[MASK] = _part(shard, members, mask)
            yield Sample(_part(shard, members, image), image, label, split, columns)

    def class_names(self, labels: list[Hashable]) -> list[Hashable]:
        return as_integers(labels)

    def _image(self, shard, key, fields):
        """Returns the member that is a sample's image; None if there is none."""
        if self.image:
            return fields.get(self.image.lower())
        found = [name for name in fields if _is_image(name) and not is_mask(name)]
        if len(found) > 1:
            raise DataError(
                shard.path,
                f"sample {key} has the images {' and '.join(sorted(found))}: choose one by "
                f"--dataset.image {min(found)}",
            )
        return fields[found[0]] if found else None

    def _mask(self, fields):
        """Returns the member that is the mask of a sample's image; None if there is none."""
        found = [name for name in fields if _is_image(name) and is_mask(name)]
        return fields[found[0]] if found and found[0] != self.image.lower() else None


def _is_image(field: str) -> bool:
    """Returns whether a field holds an image, by its suffix."""
    return os.path.splitext(f"_.{field}")[1] in FORMATS


def _part(shard: Shard, members: dict[str, tuple[int, int]], name: str) -> TarPartRef:
    """Returns the reference to a member of a shard, whose members and their places are given."""
    return TarPartRef(os.path.abspath(shard.path), *members[name], name)


@dataclass(frozen=True, eq=False)
class _Fields:
    """The fields of a sample.

    Args:
        path: The shard.
        key: The sample's name.
        fields: Field -> member.
        members: Member -> its place, as `read_tar_directory` returns it.
    """

    path: str
    key: str
    fields: dict[str, str]
    members: dict[str, tuple[int, int]]

    def value(self, name: str, option: str, separator: str = "") -> Hashable:
        """Returns what the field of an option holds: text, or an integer from JSON.

        Args:
            name: The field's name, with the keys in its JSON.
            option: The option that names the field, for messages.
            separator: What to put between the labels of a list in JSON; empty if it may hold none.

        Raises:
            DataError: There is no such field, or it holds something else.
        """
        words = name.split(".")
        for count in range(len(words), 0, -1):
            if (field := ".".join(words[:count]).lower()) in self.fields:
                text = self._text(field)
                if field.endswith("json") and not words[count:]:
                    raise self._error(
                        f"{field} has no single value: name one of its keys, as in "
                        f"--dataset.{option} {field}.KEY"
                    )
                found = self._in_json(text, words[count:], option) if words[count:] else text
                if isinstance(found, list) and option == "label":
                    found = self._joined(found, name, separator)
                if isinstance(found, str):
                    found = found.strip()
                if found == "" or isinstance(found, bool) or not isinstance(found, str | int):
                    raise self._error(f"{name} holds no {option}: {str(found)[:60]!r}")
                return found
        known = ", ".join(sorted(self.fields))
        raise self._error(f"no field {name!r}; it has {known}: set --dataset.{option}")

    def _joined(self, labels, name, separator):
        """Returns the labels in a list as one text."""
        if not separator:
            raise self._error(f"{name} holds a list: {SEPARATOR_NEEDED}")
        if not all(isinstance(x, str | int) and not isinstance(x, bool) for x in labels):
            raise self._error(f"{name} holds a list of other things than text or integers")
        if not labels:
            raise self._error(f"{name} holds no label: its list is empty")
        return joined_labels(labels, separator, self.path, f"sample {self.key}")

    def columns(self) -> dict[str, Any]:
        """Returns name -> value of the columns of a table that the sample has.

        A camera or sequence that is neither text nor a number is another key, and left out.

        Raises:
            DataError: A number of its box is neither.
        """
        known = self._keys()
        found = {}
        for name in _COLUMNS & {*known}:
            if known[name] is None or isinstance(known[name], str | int | float):
                found[name] = known[name]
            elif name in BOX:
                raise self._error(f"{name} must be text or a number; got {str(known[name])[:60]!r}")
        found.update((name, self._text(name).strip() or None) for name in _COLUMNS & {*self.fields})
        return found

    def _keys(self):
        """Returns what the field `json` holds by keys; nothing if it is of another kind."""
        if "json" not in self.fields:
            return {}
        try:
            found = json.loads(self._text("json"))
        except (ValueError, RecursionError, DataError):
            return {}  # no file of columns
        return found if isinstance(found, dict) else {}

    def _text(self, field):
        start, length = self.members[self.fields[field]]
        if length > _MOST_BYTES:
            raise self._error(f"{field} has {length:,} bytes: it may have at most {_MOST_BYTES:,}")
        try:
            return read_tar_part(self.path, start, length).decode()
        except UnicodeDecodeError:
            raise self._error(f"{field} is not UTF-8 text") from None

    def _in_json(self, text, keys, option):
        try:
            found = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise self._error(f"not valid JSON: {error}") from None
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                known = ", ".join(map(str, found)) if isinstance(found, dict) else "no keys"
                raise self._error(
                    f"no {key!r} in its JSON, which has {known[:200]}: set --dataset.{option}"
                )
            found = found[key]
        return found

    def _error(self, text):
        return DataError(self.path, f"sample {self.key}: {text}")
