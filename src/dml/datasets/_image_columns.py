"""The columns of Parquet and Arrow files that hold images and their classes."""

import json
import os
from typing import TYPE_CHECKING, Any

from dml._storage.cells import is_image, read_schema
from dml.datasets._files import listed_in, require_files
from dml.datasets._frames import item_type, read_values
from dml.datasets._label_sets import SEPARATOR_NEEDED, joined_labels
from dml.datasets._regions import BOX, MASK, REGION_COLUMNS, SOURCE_COLUMNS
from dml.errors import DataError
from dml.images import ImageRef
from dml.images._references import CellRef

if TYPE_CHECKING:
    import pyarrow as pa


def image_column(
    schema: "pa.Schema",
    path: str,
    named: str = "",
    advice: str = "choose one by --dataset.image",
) -> str:
    """Returns the name of the column of images in a file.

    Args:
        schema: The file's.
        path: The file, for messages.
        named: The column, if the user named one.
        advice: What to do about several, for messages.

    Raises:
        DataError: There is none, or several.
    """
    found = [field.name for field in schema if is_image(field.type)]
    if named in found:
        return named
    found = [name for name in found if name != MASK]
    if named or not found:
        which = f" {named!r}" if named else ""
        text = f"no column{which} of the bytes of images; it has {', '.join(schema.names)}"
        raise DataError(path, text)
    if len(found) > 1:
        raise DataError(path, f"the columns {' and '.join(found)} may be images: {advice}")
    return found[0]


def further_names(schema: "pa.Schema", image: str, path: str) -> list[str]:
    """Returns the names of the columns that `further_columns` reads.

    Args:
        schema: The file's.
        image: The column of its images.
        path: The file, for messages.

    Raises:
        DataError: Some columns of a box hold values, and others lists or images.
    """
    import pyarrow as pa

    kinds = {field.name: field.type for field in schema if field.name != image}
    # A sequence of another kind, such as a list of numbers, is none of a camera.
    plain = {n for n, kind in kinds.items() if not pa.types.is_nested(kind) and not is_image(kind)}
    others = [name for name in BOX if name in kinds and name not in plain]
    if others and plain & {*BOX}:
        raise DataError(
            path, f"column {others[0]!r} of a box must hold numbers: it holds {kinds[others[0]]}"
        )
    if MASK in kinds and is_image(kinds[MASK]):
        plain.add(MASK)
    return [name for name in (*REGION_COLUMNS, *SOURCE_COLUMNS) if name in plain]


def further_columns(path: str, image: str, count: int) -> dict[str, list[Any]]:
    """Returns name -> values of the columns of a file that name parts and origins of its images.

    They are those of a table: boxes, masks as references, cameras and sequences. A mask is an image
    in its cell, or the path of one, relative to the file's folder. Columns of another kind, such as
    lists, are left out.

    Args:
        path: The file.
        image: The column of its images.
        count: Its rows.

    Raises:
        DataError: They are damaged, or a path is not text.
        MissingDataError: A mask is missing.
    """
    path = os.path.abspath(path)
    schema = read_schema(path)
    named = further_names(schema, image, path)
    mask_is_image = MASK in named and is_image(schema.field(MASK).type)
    if mask_is_image:
        named.remove(MASK)
    columns: dict[str, list[Any]] = read_values(path, named) if named else {}
    if mask_is_image:
        rows = range(count)
        return columns | {MASK: [CellRef(path, MASK, row) for row in rows]}
    if MASK not in columns:
        return columns
    folder, names = os.path.dirname(path), columns[MASK]
    for row, name in enumerate(names):
        if name is not None and not isinstance(name, str):
            got = repr(name)[:60]
            raise DataError(path, f"row {row}: a mask is the path of an image; got {got}")
    texts = [(name or "").strip() for name in names]
    masks = [ImageRef.parse(text).absolute(folder) if text else None for text in texts]
    files = dict.fromkeys(file for mask in masks if mask is not None for file in mask.files)
    require_files(files, listed_in(path))
    return columns | {MASK: masks}


def labels_of(path: str, column: str, separator: str = "") -> list[Any]:
    """Returns the classes in a column: text, or integers without names; None where it is empty.

    Args:
        path: The Parquet or Arrow file.
        column: A column of text or integers; or of lists of them, each of which becomes one text.
        separator: What to put between the labels of a list.

    Raises:
        DataError: The column is missing or damaged, or holds something else; or lists without a
            separator, or with a label that has it.
    """
    schema = read_schema(path)
    names = class_labels(schema, column, path)
    has_lists = column in schema.names and item_type(schema.field(column).type) is not None
    if has_lists and not separator:
        raise DataError(path, f"{column} holds lists: {SEPARATOR_NEEDED}")
    cells = read_values(path, [column])[column]
    found: list[Any] = []
    for row, cell in enumerate(cells):
        listed = cell or [] if has_lists else [cell]
        labels = [None if x is None else _label(x, names, row, column, path) for x in listed]
        joined = joined_labels(labels, separator, path, f"row {row}") if has_lists else labels[0]
        found.append(joined)
    return found


def known_labels(path: str, column: str) -> list[list[str]] | None:
    """Returns the labels in each row of a column, as texts in order, each once.

    Labels that are missing, empty or hidden by -1 are left out.

    Args:
        path: The Parquet or Arrow file.
        column: As for `labels_of`.

    Returns:
        A list for each row; None if the column holds neither text nor integers, nor lists of them.

    Raises:
        DataError: The column is damaged.
    """
    schema = read_schema(path)
    kind = schema.field(column).type
    if not _holds_labels(kind):
        return None
    names, has_lists = class_labels(schema, column, path), item_type(kind) is not None
    found = []
    for row, cell in enumerate(read_values(path, [column])[column]):
        listed = cell or [] if has_lists else [cell]
        hidden = (None,) if names is None else (None, -1)
        labels = [_label(x, names, row, column, path) for x in listed if x not in hidden]
        found.append(sorted({str(label) for label in labels if label is not None}))
    return found


def _holds_labels(kind):
    """Returns whether a column of this type holds text, integers, nothing, or lists of them."""
    import pyarrow as pa

    kind = item_type(kind) or kind
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    text = str(kind) in ("string", "large_string", "string_view")
    return text or pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_null(kind)


def _label(label, names, row, column, path):
    """Returns a label without spaces around it, or its name; None if it is empty.

    Args:
        label: What the file has, other than None.
        names: The names of the classes; None if the file has none.
        row: For messages, like the next ones.
        column: Its name.
        path: The file.
    """
    if not isinstance(label, str | int):
        got = repr(label)[:60]
        raise DataError(path, f"{column} must be text or integers; row {row} has {got}")
    if names is None:
        return label.strip() or None if isinstance(label, str) else label
    if label == -1:  # as the hub has it
        raise DataError(
            path,
            f"row {row} has the {column} -1, which hides the class: leave this split out, "
            "as hf:NAME:train does",
        )
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise DataError(path, f"row {row} has the {column} {repr(label)[:60]} of {len(names)}")
    return names[label]


def class_labels(schema: "pa.Schema", column: str, path: str) -> list[str] | None:
    """Returns the names of the classes in a column of integers, or of lists; None without names.

    Hugging Face's `datasets` writes them into the schema.

    Raises:
        DataError: They are damaged.
    """
    written = (schema.metadata or {}).get(b"huggingface")
    if written is None:
        return None
    try:
        feature = json.loads(written)["info"]["features"][column]
        if isinstance(feature, list):  # of a column of lists, in one of three forms
            (feature,) = feature
        elif feature.get("_type") in ("Sequence", "List", "LargeList"):
            feature = feature["feature"]
        names = feature.get("names") if feature.get("_type") == "ClassLabel" else None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return None  # not written by it, or in a form of another version
    if names is None:
        return None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise DataError(path, f"the names of the classes of {column} are damaged")
    return names
