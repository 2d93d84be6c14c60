"""Splits: their names, the protocol that they amount to, and the options that set them apart."""

import os
import re
import unicodedata
from collections.abc import Collection, Hashable, Sequence
from typing import Any

from dml._options import check_integer, check_interval, check_known
from dml.errors import DataError

SPLITS = ("train", "val", "test", "query", "gallery")
SPLIT_NAMES = {  # in lower case, of folders and in tables
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "dev": "val",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "query": "query",
    "gallery": "gallery",
}
# Words that may follow a split's name, as in `training_set` and `test-images`.
_CONTENTS = re.compile(r"[\W_]*(set|dataset|data|images?|imgs?|split)$")
VALIDATIONS = ("classes", "images")
PROTOCOLS = ("zero-shot", "seen-class", "query-gallery")
VALIDATION_TESTS = (
    "{} is used as the test split, since there is no other; epochs and thresholds are chosen on a "
    "part of the training split"
)


def check_validation(fraction: float, seed: int, by: str) -> None:
    """Raises an error for options of the validation split that are out of range.

    Raises:
        OptionError: One is out of its range.
    """
    check_interval("[0, 1)", validation_fraction=fraction)
    check_integer(0, validation_seed=seed)
    check_known(VALIDATIONS, validation=by)


def check_test(fraction: float, seed: int) -> None:
    """Raises an error for options of the test split that are out of range.

    Raises:
        OptionError: One is out of its range.
    """
    check_interval("[0, 1)", test_fraction=fraction)
    check_integer(0, test_seed=seed)


def check_complete(splits: Collection[str], place: str | os.PathLike[str]) -> None:
    """Raises an error for a split `query` without a split `gallery`, or the other way round.

    Args:
        splits: The splits of all images.
        place: Where they are listed.

    Raises:
        DataError: One of them is missing.
    """
    there = {"query", "gallery"} & set(splits)
    if len(there) == 1:
        (missing,) = {"query", "gallery"} - there
        raise DataError(
            place,
            f"lists the split {there.pop()} without {missing}: list both, or test as the split of "
            "images that search each other",
        )


def in_one_form(name: Any) -> Any:
    """Returns a name in Unicode's form NFC, if it is text: an accent may be a character of its own.

    Names of folders, for example, are of another form where macOS has unpacked them.
    """
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


def protocol_of(names: Sequence[Hashable], splits: Sequence[str]) -> str:
    """Returns the protocol that follows from classes and their splits."""
    if {"query", "gallery"} <= set(splits):
        return "query-gallery"
    trained = {n for n, s in zip(names, splits, strict=True) if s == "train"}
    tested = {n for n, s in zip(names, splits, strict=True) if s == "test"}
    seen = set(map(in_one_form, trained)) & set(map(in_one_form, tested))
    return "seen-class" if seen else "zero-shot"


def without_partial(folder: str) -> str:
    """Returns the name of a split's folder; the hub calls a part of one `partial-train`."""
    return folder.removeprefix("partial-")


def split_named(name: Any) -> str | None:
    """Returns the split that a name, in any case, commonly stands for; None if it is unknown."""
    name = str(name).strip().lower()
    return SPLIT_NAMES.get(name) or SPLIT_NAMES.get(_CONTENTS.sub("", name))
