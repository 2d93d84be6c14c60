"""Checks of embeddings and labels at the border of this package."""

import numpy as np

ROWS = 16384  # brought to length 1 at once


def checked_embeddings(embeddings, name):
    """Returns embeddings as float32 (N, D), contiguous and each of length 1; zero rows stay zero.

    Raises:
        ValueError: It is no such array, is empty, or a row is not finite.
    """
    embeddings = np.asarray(embeddings)
    if embeddings.ndim != 2 or 0 in embeddings.shape or embeddings.dtype.kind not in "fiu":
        raise ValueError(
            f"{name} must be a table of numbers (N, D) with at least one row; "
            f"got {embeddings.dtype} {embeddings.shape}"
        )
    lowest = embeddings.min(axis=1, keepdims=True).astype("float64")
    largest = np.maximum(embeddings.max(axis=1, keepdims=True), -lowest)
    finite = np.isfinite(largest[:, 0])
    if not finite.all():
        raise ValueError(f"{name}: row {np.flatnonzero(~finite)[0]} is not finite")
    result = np.empty(embeddings.shape, "float32")
    for start in range(0, len(embeddings), ROWS):
        part = slice(start, start + ROWS)
        # In float64: the same vector gives the same row, whatever its place and its length.
        scaled = embeddings[part] / np.where(largest[part] > 0, largest[part], 1)
        lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
        result[part] = scaled / np.where(lengths > 0, lengths, 1)
    return result


def checked_labels(labels, count, name):
    """Returns labels (N,) of any type as an array; tuples as objects.

    Raises:
        ValueError: There are not `count` of them.
    """
    if not isinstance(labels, np.ndarray):
        labels, rows = np.empty(len(labels), dtype=object), list(labels)
        labels[:] = rows
    if labels.shape != (count,):
        raise ValueError(f"{name} must be {count} labels, one for each row; got {labels.shape}")
    return labels


def codes(*label_arrays):
    """Returns label arrays as int64 codes that agree across the arrays; equal labels, equal codes.

    By hashing, never through floats: integers above 2^53 stay distinct.
    """
    known = {}
    return [
        np.fromiter(
            (known.setdefault(v, len(known)) for v in labels.tolist()), "int64", len(labels)
        )
        for labels in label_arrays
    ]
