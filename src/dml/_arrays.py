"""Conversion of any library's arrays to NumPy, and detection of missing labels."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from dml.errors import ArrayError

AS_INTEGERS = "np.unique(labels, return_inverse=True)[1] gives such"
_UNIT_TOLERANCE = 1e-3  # of a vector's length
_ROUNDING = 1e-5  # of float32 shares: cosines may exceed 1

Labels: TypeAlias = ArrayLike | Iterable[Any]  # an array, tensor or Series, or any sequence


def as_array(values: ArrayLike) -> np.ndarray:
    """Returns an array-like as a NumPy array: tensors of any library, Series, lists.

    Without a copy if the library shares its memory; tensors on an accelerator are copied.
    bfloat16, which NumPy does not have, becomes float32.
    """
    if hasattr(values, "detach"):  # PyTorch, whose tensors may have a gradient or be on a GPU
        tensor: Any = values
        tensor = tensor.detach().cpu()
        values = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    array: np.ndarray = np.asarray(values)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def not_unit(vectors: np.ndarray) -> np.ndarray:
    """Returns the rows of vectors (N, D) whose length is neither 1 nor 0, without a copy of them.

    An encoder returns zeros for an image in which it finds nothing, such as one of a single colour.
    """
    with np.errstate(over="ignore"):
        lengths = np.sqrt(np.einsum("nd,nd->n", vectors, vectors))
    return np.flatnonzero(~(np.abs(lengths - 1) < _UNIT_TOLERANCE) & (lengths != 0))


def first_repeated(values: Iterable[Hashable]) -> int | None:
    """Returns the position of the first value that came before; None if all differ."""
    seen = set()
    for position, value in enumerate(values):
        if value in seen:
            return position
        seen.add(value)
    return None


def label_array(labels: Labels, name: str = "labels") -> np.ndarray:
    """Returns labels as a NumPy array (N,); tuples and sets as objects.

    Args:
        labels: A tensor or array (N,) or (N, 1) of any library, a Series, or any sequence.
        name: The argument's name, for messages.

    Raises:
        ArrayError: They are not a sequence of labels.
    """
    unordered = isinstance(labels, (str, bytes, dict, set, frozenset))
    if unordered or not hasattr(labels, "__iter__"):
        raise ArrayError(f"{name} must be a sequence of labels; got {type(labels).__name__}")
    if hasattr(labels, "__array__") or hasattr(labels, "detach"):
        array = as_array(labels)  # pyright: ignore[reportArgumentType]
        return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
    rows = list(labels)  # pyright: ignore[reportArgumentType]
    array = np.empty(len(rows), dtype=object)
    array[:] = [scalar(row) for row in rows]
    return array


def scalar(value: Any) -> Any:
    """Returns a tensor or array without axes as its number, hashed by value; others unchanged."""
    if getattr(value, "shape", None) == () and not isinstance(value, np.generic):
        return as_array(value).item()
    return value


def whole_numbers(
    values: np.ndarray, name: str = "labels", remedy: str = AS_INTEGERS
) -> np.ndarray:
    """Returns whole numbers (N,), which may be objects, as an array of numbers.

    Args:
        values: An array (N,).
        name: The argument's name, in the plural, for messages.
        remedy: What to do instead, for messages.

    Raises:
        ArrayError: One is missing or no whole number; the message names its row.
    """
    check_present(values, name, name.removesuffix("s"), "leave such images out")
    if values.dtype.kind == "O":
        numbers = (int, float, np.integer, np.floating)
        strange = [row for row, v in enumerate(values) if not isinstance(v, numbers)]
        if not strange:
            values = np.array(values.tolist())
    else:
        strange = [] if values.dtype.kind in "biuf" else [0]
    if not strange and values.dtype.kind == "f":
        strange = np.flatnonzero(~np.isfinite(values) | (values != np.round(values))).tolist()
    if strange and len(values):
        found = values[strange[0] : strange[0] + 1].tolist()[0]
        raise ArrayError(f"{name} must be integers; got {found!r} in row {strange[0]}. {remedy}")
    return values


def check_shares(matrix: np.ndarray, name: str) -> None:
    """Raises ArrayError unless a matrix (N, M) holds numbers in [0, 1], or NaN.

    Args:
        matrix: An array.
        name: What it is, for messages.
    """
    if matrix.dtype.kind not in "biuf":
        raise ArrayError(f"{name} must be numbers in [0, 1]; got {matrix.dtype}")
    if not matrix.size or matrix.dtype.kind == "b":
        return
    # Which ignore NaN, and copy no matrix of many images.
    low, high = (float(extreme.reduce(matrix, axis=None)) for extreme in (np.fmin, np.fmax))
    if low < -_ROUNDING or high > 1 + _ROUNDING:
        outside = (matrix < -_ROUNDING) | (matrix > 1 + _ROUNDING)
        row, column = np.argwhere(outside)[0]
        raise ArrayError(
            f"{name} must be in [0, 1], or NaN where it is not known; got "
            f"{matrix[row, column]:g} in row {row}, column {column}: scale it to [0, 1]"
        )


def missing(labels: np.ndarray) -> np.ndarray:
    """Returns which labels (N,) are None or not a number, as booleans (N,)."""
    if labels.dtype.kind == "O":
        import pandas as pd

        return np.asarray(pd.isna(labels), bool)
    return labels != labels if labels.dtype.kind in "fcmM" else np.zeros(labels.shape, bool)


def check_present(values: np.ndarray, name: str, what: str, remedy: str) -> None:
    """Raises ArrayError for the first row whose value is None or not a number.

    Args:
        values: An array (N,).
        name: The argument's name, for the message.
        what: What the row lacks, such as "label".
        remedy: What to do about it.
    """
    gaps = missing(values)
    if gaps.any():
        row = np.flatnonzero(gaps)[0]
        raise ArrayError(f"{name}: row {row} has no {what} ({values[row]}): {remedy}")


def object_array(values: Sequence[Any]) -> np.ndarray:
    """Returns the values as strings in an object array, which does not pad them to one length."""
    result = np.empty(len(values), dtype=object)
    result[:] = [str(value) for value in values]
    return result
