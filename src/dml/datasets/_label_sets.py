"""Images with several labels each: cells that hold them, and the splits that they allow."""

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from dml.datasets._splits import protocol_of
from dml.datasets.items import Items
from dml.errors import DataError, OptionError

SEPARATOR_NEEDED = (
    "to read one as several labels, set --dataset.label_separator to a text that is in "
    "no label, such as |"
)


def joined_labels(labels: Sequence[object], separator: str, path: str, place: str) -> str | None:
    """Returns the labels in a list as one text, as `sets_of_labels` takes it; None without any.

    Args:
        labels: Text or integers.
        separator: What to put between labels.
        path: The file that they are of, for messages.
        place: In that file.

    Raises:
        DataError: A label is empty, or has the separator in it.
    """
    texts = [str(label).strip() for label in labels if label is not None]
    if len(texts) < len(labels) or "" in texts:
        raise DataError(path, f"{place} has an empty label")
    for text in texts:
        if separator in text:
            raise DataError(
                path,
                f"{place} has the label {text!r} with the label_separator {separator!r} in it: set "
                "--dataset.label_separator to a text that is in no label",
            )
    return separator.join(texts) or None


def sets_of_labels(
    cells: Sequence[Hashable], separator: str, error: Callable[[int, str], Exception]
) -> list[Hashable]:
    """Returns cells with their labels in order, each once.

    Args:
        cells: Such as "red|shoe".
        separator: What is between labels; empty if each cell is one label.
        error: Returns the error of a row and a text.
    """
    if not separator:
        return list(cells)
    sets = []
    for row, cell in enumerate(cells):
        labels = [label.strip() for label in str(cell).split(separator)]
        if not all(labels):
            raise error(row, f"has an empty label in {cell!r}")
        sets.append(separator.join(sorted(set(labels))))
    return sets


def protocol_of_sets(names: Sequence[Hashable], splits: Sequence[str], separator: str) -> str:
    """Returns the protocol of listed splits.

    Args:
        names: Classes, as `sets_of_labels` returns them.
        splits: Of the images.
        separator: As there.
    """
    if not separator:
        return protocol_of(names, splits)
    pairs = [
        (label, split)
        for name, split in zip(names, splits, strict=True)
        for label in str(name).split(separator)
    ]
    return protocol_of(*zip(*pairs, strict=True))


def check_held_out(
    items: Items, has_splits: bool, test_fraction: float, validation_fraction: float, by: str
) -> None:
    """Raises an error if classes are to be held out, and images have several labels.

    Args:
        items: All of them.
        has_splits: Whether the data say which are for the test.
        test_fraction: As the option of the data set, like the next ones.
        validation_fraction: Share for validation.
        by: The option `validation`.

    Raises:
        OptionError: Some would be of classes on both sides.
    """
    if not items.separator:
        return
    why = "an image with several labels would be of classes on both sides"
    if not has_splits and test_fraction and items.protocol != "seen-class":
        raise OptionError(
            "dataset.protocol",
            f"must be seen-class with a label_separator: {why}. Or list splits in a column "
            "split, or set test_fraction to 0",
        )
    if not np.isin("val", items.splits) and validation_fraction and by == "classes":
        raise OptionError(
            "dataset.validation",
            f"must be images with a label_separator: {why}. Or list a split val, or set "
            "validation_fraction to 0",
        )
