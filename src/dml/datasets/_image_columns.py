"""The columns of Parquet and Arrow files that hold images and their classes."""

import json
from typing import TYPE_CHECKING, Any

from dml._storage.cells import is_image, read_schema
from dml.datasets._frames import read_values
from dml.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa


def image_column(schema: "pa.Schema", path: str, named: str = "") -> str:
    """Returns the name of the column of images in a file.

    Args:
        schema: The file's.
        path: The file, for messages.
        named: The column, if the user named one.

    Raises:
        DataError: There is none, or several.
    """
    found = [field.name for field in schema if is_image(field.type)]
    if named in found:
        return named
    if named or not found:
        which = f" {named!r}" if named else ""
        text = f"no column{which} of the bytes of images; it has {', '.join(schema.names)}"
        raise DataError(path, text)
    if len(found) > 1:
        raise DataError(
            path, f"the columns {' and '.join(found)} may be images: choose one by --dataset.image"
        )
    return found[0]


def labels_of(path: str, column: str) -> list[Any]:
    """Returns the classes in a column: text, or integers without names; None where it is empty.

    Raises:
        DataError: The column is missing or damaged, or holds something else.
    """
    names = class_labels(read_schema(path), column, path)
    labels = read_values(path, [column])[column]
    for row, label in enumerate(labels):
        if label is None:
            continue
        if not isinstance(label, str | int):
            raise DataError(path, f"{column} must be text or integers; row {row} has {label!r}")
        if names is not None:
            if not isinstance(label, int) or not 0 <= label < len(names):
                raise DataError(path, f"row {row} has the {column} {label!r} of {len(names)}")
            labels[row] = names[label]
    return labels


def class_labels(schema: "pa.Schema", column: str, path: str) -> list[str] | None:
    """Returns the names of the classes in a column of integers; None if it has none.

    Hugging Face's `datasets` writes them into the schema.

    Raises:
        DataError: They are damaged.
    """
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return None
    try:
        feature = json.loads(written)["info"]["features"][column]
        names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # not written by it, or in a form of another version
    if names is not None and not all(isinstance(name, str) for name in names):
        raise DataError(path, f"the names of the classes of {column} are damaged")
    return names
