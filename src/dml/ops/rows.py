"""Rows of large variables."""

import keras
from keras import ops


def take_rows(variable: keras.Variable, rows):
    """Returns the rows (S, ...) of a variable of shape (N, ...), without reading the others.

    Args:
        variable: A variable of shape (N, ...).
        rows: int32 (S,).
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(variable.value, rows)  # a tensor of all would be copied by `set_rows`
    return ops.take(variable, rows, axis=0)


def set_rows(variable: keras.Variable, rows, values) -> None:
    """Replaces rows of a variable, without a copy of the others.

    Args:
        variable: A variable of shape (N, ...).
        rows: int32 (S,), each at most once, ascending.
        values: Values of shape (S, ...).
    """
    values = ops.convert_to_tensor(values, dtype=variable.dtype)
    rows = ops.convert_to_tensor(rows)
    match keras.backend.backend():
        case "jax":
            table = ops.convert_to_tensor(variable)
            set_in = table.at[rows].set
            variable.assign(set_in(values, unique_indices=True, indices_are_sorted=True))
        case "tensorflow":
            import tensorflow as tf

            variable.value.scatter_update(tf.IndexedSlices(values, rows))
        case _:
            import torch

            with torch.no_grad():
                variable.value.index_copy_(0, rows.long(), values)
