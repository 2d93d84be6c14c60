"""Tensors and columns of any library, and what counts as missing."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import torch

from dml._arrays import as_array, label_array, missing, not_unit

CONTAINERS = {
    "array": np.array,
    "column": lambda values: np.array(values)[:, None],
    "list": list,
    "tuple": tuple,
    "series": pd.Series,
    "nullable series": lambda values: pd.Series(values, dtype="Int64"),
    "category": lambda values: pd.Series(values).astype("category"),
    "torch": torch.tensor,
    "tensorflow": tf.constant,
    "jax": jnp.array,
    "list of torch": lambda values: [torch.tensor(v) for v in values],
    "list of tensorflow": lambda values: [tf.constant(v) for v in values],
    "list of jax": lambda values: [jnp.array(v) for v in values],
    "list of NumPy": lambda values: [np.int64(v) for v in values],
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_labels_in_any_container_are_the_same(kind):
    found = label_array(CONTAINERS[kind]([7, 3, 7]))
    assert found.shape == (3,) and found.tolist() == [7, 3, 7]
    assert len({*found.tolist()}) == 2  # hashed by value


def test_a_tensor_with_a_gradient_is_an_array():
    assert as_array(torch.ones(2, requires_grad=True)).tolist() == [1, 1]


@pytest.mark.parametrize(
    "tensor", [torch.tensor([1.5, 2]).bfloat16(), jnp.array([1.5, 2], "bfloat16")]
)
def test_numbers_that_numpy_has_not_become_float32(tensor):
    found = as_array(tensor)
    assert found.dtype == np.float32 and found.tolist() == [1.5, 2]


@pytest.mark.parametrize("labels", ["abc", {"a": 1}, {1, 2}, None, 3])
def test_what_has_no_order_is_no_labels(labels):
    with pytest.raises(ValueError, match="gallery_labels must be a sequence of labels"):
        label_array(labels, "gallery_labels")


def test_missing_is_none_and_what_is_not_a_number():
    nothing = [None, float("nan"), pd.NA, np.float32("nan"), pd.NaT]
    assert missing(label_array(nothing)).all()
    assert not missing(label_array([0, "", (None, 1), frozenset({1}), "nan"])).any()
    assert missing(np.array([1.0, np.nan])).tolist() == [False, True]
    assert missing(np.array(["2020", "NaT"], "datetime64[D]")).tolist() == [False, True]
    assert missing(np.array(["a", ""])).tolist() == [False, False]


def test_vectors_of_another_length_than_1_or_0():
    rows = np.array([[0.6, 0.8], [0, 0], [3, 4], [np.nan, 0], [1, 1e-4], [1e30, 0]], "float32")
    assert not_unit(rows).tolist() == [2, 3, 5]
