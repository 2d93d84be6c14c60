"""Arrays of any library as NumPy's, and which labels are missing."""

import numpy as np


def as_array(values):
    """Returns an array-like as a NumPy array: tensors of any library, Series, lists.

    Without a copy where the library shares its memory; of tensors on an accelerator, a copy.
    bfloat16, which NumPy does not have, becomes float32.
    """
    if hasattr(values, "detach"):  # PyTorch, whose tensors may have a gradient or be on a GPU
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    array = np.asarray(values)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def label_array(labels, name="labels"):
    """Returns labels as an array (N,) of NumPy, whatever holds them; tuples and sets as objects.

    Args:
        labels: A tensor or array (N,) or (N, 1) of any library, a Series, or any sequence.
        name: Of the argument, for messages.

    Raises:
        ValueError: It is no sequence of labels.
    """
    unordered = isinstance(labels, (str, bytes, dict, set, frozenset))
    if unordered or not hasattr(labels, "__iter__"):
        raise ValueError(f"{name} must be a sequence of labels; got {type(labels).__name__}")
    if hasattr(labels, "__array__") or hasattr(labels, "detach"):
        array = as_array(labels)
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    rows = list(labels)
    array = np.empty(len(rows), dtype=object)
    array[:] = [scalar(row) for row in rows]
    return array


def scalar(value):
    """Returns a tensor or array of no axes as its number, hashed by value; others as they are."""
    if getattr(value, "shape", None) == () and not isinstance(value, np.generic):
        return as_array(value).item()
    return value


def missing(labels):
    """Returns which labels (N,) are None or not a number, as booleans."""
    if labels.dtype.kind == "O":
        import pandas as pd

        return np.asarray(pd.isna(labels), bool)
    return labels != labels if labels.dtype.kind in "fcmM" else np.zeros(labels.shape, bool)
