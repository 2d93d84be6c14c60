"""Conversion of a loss's arguments that keeps integers exact, as Keras' casts to floats do not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import backend, ops

from dml._arrays import AS_INTEGERS, as_array, check_shares, whole_numbers
from dml.errors import ArrayError
from dml.ops import check_targets, is_relation

_LARGEST = 2**31 - 1


def exact_targets(y: Any, recode: bool) -> Any:
    """Returns targets in tensors, with labels that differ in 32 bits as they do in more.

    Values that a compiled step knows only when it runs are not checked.

    Args:
        y: As for `dml.ops.Targets.of`.
        recode: Whether other labels, that are equal where these are, do as well.

    Raises:
        ArrayError: Labels are no whole numbers, or a matrix is not in [0, 1]; or labels must not be
            recoded, and 32 bits do not hold them.
    """
    check_targets(y)
    if isinstance(y, Mapping):
        return {name: _exact(v, recode and name == "labels", name) for name, v in y.items()}
    return _exact(y, recode, "labels")


def check_rows(y: Any, x: Any) -> None:
    """Raises ArrayError unless there is a target for each row, as far as their numbers are known.

    Args:
        y: Targets in tensors.
        x: What a loss reads: an array (B, ...), a memory's dictionary with "embeddings", or a list
            of such.
    """
    while not ops.is_tensor(x):
        x = x["embeddings"] if isinstance(x, Mapping) else x[0]
    rows = _length(x)
    for name, values in (y if isinstance(y, Mapping) else {"labels": y}).items():
        if None not in (rows, _length(values)) and rows != _length(values):
            raise ArrayError(
                f"{name} must be one for each row of the embeddings, ({rows},); got "
                f"{_length(values)}"
            )


def as_floats(x: Any) -> Any:
    """Returns an array as a float32 tensor; integers of fewer than two axes stay integers.

    Those are of a memory: its labels, and how many steps it holds.
    """
    x = ops.convert_to_tensor(x)
    integers = "int" in backend.standardize_dtype(x.dtype)
    return x if integers and len(x.shape) < 2 else ops.cast(x, "float32")


def _length(values):
    """Returns the number of rows of a tensor; None if it is unknown."""
    return values.shape[0] if len(values.shape) else 1


def _exact(values, recode, name):
    """Returns one array of the targets as a tensor."""
    if not ops.is_tensor(values):
        # Before JAX takes 64 bits as 32.
        values = _of_array(_checked(_array(values, name), name), recode, name)
    elif "float" in backend.standardize_dtype(values.dtype) and not _is_traced(values):
        _checked(as_array(values), name)
    if is_relation(values):
        return ops.cast(values, "float32")
    if recode and backend.standardize_dtype(values.dtype) == "int64":
        values = ops.reshape(values, (-1,))  # each becomes the first row with the same label
        same = ops.cast(values[:, None] == values[None, :], "int32")
        return ops.cast(ops.argmax(same, axis=1), "int32")
    return values


def _array(values, name):
    """Returns targets of any library as a NumPy array."""
    try:
        return as_array(values)
    except ValueError:
        raise ArrayError(f"{name} must be one for each image, (N,); got rows that differ") from None


def _is_traced(values):
    """Returns whether a tensor stands for values that are known only when a step runs."""
    match backend.backend():
        case "jax":
            import jax

            return isinstance(values, jax.core.Tracer)
        case "tensorflow":
            return not hasattr(values, "numpy")
        case _:
            return values.is_meta


def _checked(values, name):
    """Returns an array of the targets after checking its values."""
    if name == "related" and values.ndim != 2:
        raise ArrayError(
            f"related must be (B, N), a column for each training image; got {values.shape}"
        )
    if name == "related" or (values.ndim == 2 and values.shape[1] != 1):
        check_shares(values, name)
        return values
    if values.ndim > 2:
        raise ArrayError(f"{name} must be one for each image, (N,); got {values.shape}")
    remedy = AS_INTEGERS if name == "labels" else "np.arange(N) numbers all images"
    return whole_numbers(values.reshape(-1), name, remedy).reshape(values.shape)


def _of_array(values, recode, name):
    """Returns a NumPy array as a tensor, of int32 if it holds a number for each image."""
    if name == "related" or (values.ndim == 2 and values.shape[1] != 1):
        return ops.convert_to_tensor(values)
    outside = (values > _LARGEST) | (values < -_LARGEST - 1)
    if not outside.any():
        return ops.convert_to_tensor(values.astype("int32"))
    if not recode:
        raise ArrayError(f"{name} must be in 32 bits; got {values[outside].flat[0]:.0f}")
    different = np.unique(values, return_inverse=True)[1].reshape(values.shape)
    return ops.convert_to_tensor(different.astype("int32"))
