"""Checks of embeddings and labels at the border of this package."""

import numpy as np

from dml._arrays import as_array, label_array, missing

ROWS = 16384  # brought to length 1 at once


def checked_embeddings(embeddings, name):
    """Returns embeddings as float32 (N, D), contiguous and each of length 1; zero rows stay zero.

    Raises:
        ValueError: It is no such array, is empty, or a row is not finite.
    """
    embeddings = as_array(embeddings)
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


def checked_gallery(gallery, queries):
    """Returns a gallery as `checked_embeddings` does.

    Raises:
        ValueError: As there, or it has other dimensions than the queries.
    """
    gallery = checked_embeddings(gallery, "gallery")
    if gallery.shape[1] != queries.shape[1]:
        raise ValueError(
            f"the gallery has {gallery.shape[1]} dimensions, the queries {queries.shape[1]}"
        )
    return gallery


def checked_labels(labels, count, name):
    """Returns labels (N,) of any type and any array-like as an array; tuples as objects.

    Raises:
        ValueError: There are not `count` of them, or one is None or not a number.
    """
    labels = checked_keys(labels, count, name)
    gaps = missing(labels)
    if gaps.any():
        row = np.flatnonzero(gaps)[0]
        raise ValueError(
            f"{name}: row {row} has no label ({labels[row]}): leave such rows out, or name their "
            "class"
        )
    return labels


def checked_keys(keys, count, name):
    """Returns keys (N,) as `checked_labels` does, but of which some may be missing.

    Raises:
        ValueError: There are not `count` of them.
    """
    keys = label_array(keys, name)
    if keys.shape != (count,):
        raise ValueError(f"{name} must be {count} labels, one for each row; got {keys.shape}")
    return keys


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


def shared_codes(labels, gallery_labels, name, gallery_name):
    """Returns the codes of two label arrays that have classes in common.

    Raises:
        ValueError: They have none.
    """
    both = codes(labels, gallery_labels)
    if not np.isin(*both).any():
        raise nothing_shared(labels.tolist(), gallery_labels.tolist(), name, gallery_name)
    return both


def nothing_shared(labels, gallery_labels, name, gallery_name):
    """Returns the ValueError of two lists of labels without a class in common."""
    types = [sorted({type(v).__name__ for v in side}) for side in (labels, gallery_labels)]
    if set(types[0]).isdisjoint(types[1]):
        return ValueError(
            f"{name} are {' and '.join(types[0])}, {gallery_name} {' and '.join(types[1])}: no "
            f"class in common ({labels[0]!r}, {gallery_labels[0]!r}): bring them to one type"
        )
    return ValueError(
        f"{name} and {gallery_name} have no class in common: {labels[0]!r} is not among "
        f"{gallery_name}, nor is any other"
    )
