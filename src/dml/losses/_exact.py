"""Conversion of a loss's arguments that keeps integers exact, as Keras' casts to floats do not."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import backend, ops

from dml.errors import ArrayError
from dml.ops import is_relation

_LARGEST = 2**31 - 1


def exact_targets(y: Any, recode: bool) -> Any:
    """Returns targets in tensors, with labels that differ in 32 bits as they do in more.

    Args:
        y: As for `dml.ops.Targets.of`.
        recode: Whether other labels, that are equal where these are, do as well.

    Raises:
        ArrayError: Labels must not be recoded, and 32 bits do not hold them.
    """
    if isinstance(y, Mapping):
        return {name: _exact(value, recode and name == "labels") for name, value in y.items()}
    return _exact(y, recode)


def as_floats(x: Any) -> Any:
    """Returns an array as a float32 tensor; integers of fewer than two axes stay integers.

    Those are of a memory: its labels, and how many steps it holds.
    """
    x = ops.convert_to_tensor(x)
    integers = "int" in backend.standardize_dtype(x.dtype)
    return x if integers and len(x.shape) < 2 else ops.cast(x, "float32")


def _exact(values, recode):
    """Returns one array of the targets as a tensor."""
    if not ops.is_tensor(values):
        # Before JAX takes 64 bits as 32.
        values = _of_array(np.asarray(values), recode)
    if is_relation(values):
        return ops.cast(values, "float32")
    if recode and backend.standardize_dtype(values.dtype) == "int64":
        values = ops.reshape(values, (-1,))  # each becomes the first row with the same label
        same = ops.cast(values[:, None] == values[None, :], "int32")
        return ops.cast(ops.argmax(same, axis=1), "int32")
    return values


def _of_array(values, recode):
    """Returns a NumPy array as a tensor, of int32 if it holds a number for each image."""
    if values.dtype.kind not in "biuf" or (values.ndim == 2 and values.shape[1] != 1):
        return ops.convert_to_tensor(values)
    whole = values.astype("int64") if values.dtype.kind == "f" else values
    outside = (whole > _LARGEST) | (whole < -_LARGEST - 1)
    if not outside.any():
        return ops.convert_to_tensor(whole.astype("int32"))
    if not recode:
        raise ArrayError(f"labels must be in 32 bits; got {whole[outside].flat[0]}")
    different = np.unique(whole, return_inverse=True)[1].reshape(whole.shape)
    return ops.convert_to_tensor(different.astype("int32"))
