"""Images with several labels each: cells that hold them, and the splits that they allow."""

from collections.abc import Callable, Hashable, Sequence

from dml._storage.columns import INTEGER
from dml.datasets._splits import in_one_form, protocol_of
from dml.datasets.items import Items
from dml.errors import DataError, OptionError

SEPARATOR_NEEDED = (
    "to read one as several labels, set --dataset.label_separator to a text that is in "
    "no label, such as |"
)
_OTHER_SEPARATOR = "set --dataset.label_separator to a text that is in no label"


def as_integers(labels: Sequence[Hashable]) -> list[Hashable]:
    """Returns labels as integers if all are texts that are written so, without leading zeros."""
    if all(isinstance(label, str) and INTEGER.fullmatch(label) for label in labels):
        return [int(str(label)) for label in labels]
    return list(labels)


def joined_labels(labels: Sequence[object], separator: str, path: str, place: str) -> str | None:
    """Returns the labels in a list as one text, as `sets_of_labels` takes it; None without any.

    Args:
        labels: Text or integers.
        separator: What to put between labels.
        path: The file that they are of, for messages.
        place: The place in that file.

    Raises:
        DataError: A label is empty, or the separator does not tell them apart.
    """
    texts = [str(label).strip() for label in labels if label is not None]
    if len(texts) < len(labels) or "" in texts:
        raise DataError(path, f"{place} has an empty label")
    joined = separator.join(texts)
    if texts and joined.split(separator) != texts:  # it is in one, or one ends with a part of it
        raise DataError(
            path,
            f"{place} has labels that the label_separator {separator!r} does not tell apart, "
            f"{str(texts)[:60]}: {_OTHER_SEPARATOR}",
        )
    return joined or None


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
        found = [label.strip() for label in in_one_form(str(cell)).split(separator)]
        if not all(found):
            raise error(row, f"has an empty label in {repr(cell)[:60]}")
        labels = sorted(set(found))
        sets.append(separator.join(labels))
        if sets[-1].split(separator) != labels:
            raise error(
                row,
                f"has labels that the label_separator {separator!r} does not tell apart in "
                f"{repr(cell)[:60]}: {_OTHER_SEPARATOR}",
            )
    return sets


def protocol_of_sets(names: Sequence[Hashable], splits: Sequence[str], separator: str) -> str:
    """Returns the protocol of listed splits.

    Args:
        names: Classes, as `sets_of_labels` returns them.
        splits: The images' splits.
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
    splits = set(items.splits.tolist())
    takes_validation = "train" in splits and "val" not in splits
    if takes_validation and validation_fraction and by == "classes":
        raise OptionError(
            "dataset.validation",
            f"must be images with a label_separator: {why}. Or list a split val, or set "
            "validation_fraction to 0",
        )
