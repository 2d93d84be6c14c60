"""Checks of the embeddings and labels that callers pass to this package."""

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from dml._arrays import Labels, as_array, check_present, label_array
from dml.errors import ArrayError

ROWS = 16384  # normalised at once


def checked_embeddings(embeddings: ArrayLike, name: str) -> np.ndarray:
    """Returns embeddings as contiguous float32 (N, D) of unit length; rows of zeros stay zero.

    Raises:
        ArrayError: It is not such an array, is empty, or a row is not finite.
    """
    values = as_array(embeddings)
    if values.ndim != 2 or 0 in values.shape or values.dtype.kind not in "fiu":
        raise ArrayError(
            f"{name} must be a table of numbers (N, D) with at least one row; "
            f"got {values.dtype} {values.shape}"
        )
    lowest = values.min(axis=1, keepdims=True).astype("float64")
    largest = np.maximum(values.max(axis=1, keepdims=True), -lowest)
    finite = np.isfinite(largest[:, 0])
    if not finite.all():
        raise ArrayError(f"{name}: row {np.flatnonzero(~finite)[0]} is not finite")
    result = np.empty(values.shape, "float32")
    for start in range(0, len(values), ROWS):
        part = slice(start, start + ROWS)
        # In float64: the same vector gives the same row, whatever its place and its length.
        scaled = values[part] / np.where(largest[part] > 0, largest[part], 1)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        result[part] = scaled / np.where(lengths > 0, lengths, 1)
    return result


def checked_gallery(gallery: ArrayLike, queries: np.ndarray) -> np.ndarray:
    """Returns a gallery as `checked_embeddings` does.

    Raises:
        ArrayError: As for `checked_embeddings`, or its dimension differs from that of the queries.
    """
    vectors = checked_embeddings(gallery, "gallery")
    if vectors.shape[1] != queries.shape[1]:
        raise ArrayError(
            f"the gallery has {vectors.shape[1]} dimensions, the queries {queries.shape[1]}"
        )
    return vectors


def checked_labels(labels: Labels, count: int, name: str) -> np.ndarray:
    """Returns labels (N,) of any type and any array-like as an array; tuples as objects.

    Raises:
        ArrayError: There are not `count` of them, or one is None or not a number.
    """
    array = checked_keys(labels, count, name)
    check_present(array, name, "label", "leave such rows out, or name their class")
    return array


def checked_keys(keys: Labels, count: int, name: str) -> np.ndarray:
    """Returns keys (N,) as `checked_labels` does, but some may be missing.

    Raises:
        ArrayError: There are not `count` of them.
    """
    array = label_array(keys, name)
    if array.shape != (count,):
        raise ArrayError(f"{name} must be {count} labels, one for each row; got {array.shape}")
    return array


def codes(*label_arrays: np.ndarray) -> list[np.ndarray]:
    """Returns label arrays as int64 codes that agree across the arrays; equal labels, equal codes.

    By hashing, never through floats: integers above 2^53 stay distinct.

    Raises:
        ArrayError: A label can't be hashed, such as a list.
    """
    known: dict[Hashable, int] = {}
    return [
        np.fromiter((_code(v, known) for v in labels.tolist()), "int64", len(labels))
        for labels in label_arrays
    ]


def _code(label, known):
    """Returns the code of a label; a new one is added to `known`."""
    try:
        return known.setdefault(label, len(known))
    except TypeError:
        raise ArrayError(
            f"a label must be one value, such as a text, a number or a tuple; got {label!r}"
        ) from None


def shared_codes(
    labels: np.ndarray, gallery_labels: np.ndarray, name: str, gallery_name: str
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the codes of two label arrays that have classes in common.

    Raises:
        ArrayError: They have none.
    """
    first, second = codes(labels, gallery_labels)
    if not np.isin(first, second).any():
        raise nothing_shared(labels.tolist(), gallery_labels.tolist(), name, gallery_name)
    return first, second


def nothing_shared(
    labels: Sequence[Any], gallery_labels: Sequence[Any], name: str, gallery_name: str
) -> ArrayError:
    """Returns the error for two lists of labels without a class in common."""
    types = [sorted({type(v).__name__ for v in side}) for side in (labels, gallery_labels)]
    if set(types[0]).isdisjoint(types[1]):
        return ArrayError(
            f"{name} are {' and '.join(types[0])}, {gallery_name} {' and '.join(types[1])}: no "
            f"class in common ({labels[0]!r}, {gallery_labels[0]!r}): convert them to one type"
        )
    return ArrayError(
        f"{name} and {gallery_name} have no class in common: {labels[0]!r} is not among "
        f"{gallery_name}, nor is any other"
    )
