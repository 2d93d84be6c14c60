"""Checks of embeddings and labels: any numbers, any labels, and invalid input."""

import numpy as np
import pytest

from dml.evaluation._arrays import (
    checked_embeddings,
    checked_keys,
    checked_labels,
    codes,
    shared_codes,
)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int32"])
def test_embeddings_become_float32_of_length_1(dtype):
    found = checked_embeddings(np.array([[3, 4], [0, -2]], dtype), "embeddings")
    assert found.dtype == np.float32 and found.flags.c_contiguous
    np.testing.assert_allclose(found, [[0.6, 0.8], [0, -1]], rtol=1e-6)


@pytest.mark.parametrize("size", [1e-300, 1e300])
def test_neither_underflow_nor_overflow(size):
    found = checked_embeddings(size * np.array([[3.0, 4.0]]), "embeddings")
    np.testing.assert_allclose(found, [[0.6, 0.8]], rtol=1e-6)


def test_zero_rows_stay_zero():
    assert (checked_embeddings(np.zeros((2, 3)), "embeddings") == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_the_row_that_is_not_finite_is_named(value):
    x = np.ones((4, 3))
    x[2, 1] = value
    with pytest.raises(ValueError, match="gallery: row 2 is not finite"):
        checked_embeddings(x, "gallery")


@pytest.mark.parametrize("x", [np.ones(3), np.ones((0, 3)), np.ones((3, 0)), np.array([["a"]])])
def test_other_arrays_are_refused(x):
    with pytest.raises(ValueError, match=r"embeddings must be a table of numbers \(N, D\)"):
        checked_embeddings(x, "embeddings")


def test_tuples_are_one_label_each():
    labels = checked_labels([("a", 1), ("b", 2)], 2, "labels")
    assert labels.shape == (2,) and labels[1] == ("b", 2)


def test_codes_agree_across_arrays_and_keep_large_integers_apart():
    big = 2**53
    queries, gallery = codes(np.array([big, big + 1]), np.array([big + 1, big, 7]))
    assert queries.tolist() == [0, 1] and gallery.tolist() == [1, 0, 2]


@pytest.mark.parametrize("dtype", ["int8", "uint8", "float16"])
def test_small_number_types_do_not_overflow(dtype):
    x = np.array([[3, 4], [0, 100]]).astype(dtype)
    expected = [[0.6, 0.8], [0.0, 1.0]]
    np.testing.assert_allclose(checked_embeddings(x, "x"), expected, atol=1e-6)
    lowest = np.array([[-128, 0]], "int8")
    assert checked_embeddings(lowest, "x").tolist() == [[-1.0, 0.0]]


@pytest.mark.parametrize("nothing", [None, float("nan")])
def test_the_row_without_a_label_is_named(nothing):
    with pytest.raises(ValueError, match=r"labels: row 1 has no label \((None|nan)\)"):
        checked_labels(["a", nothing, "a"], 3, "labels")


def test_a_key_may_be_missing():
    assert checked_keys(["a", None], 2, "exclude").tolist() == ["a", None]


def test_other_numbers_of_labels_are_refused():
    with pytest.raises(ValueError, match=r"labels must be 3 labels, one for each row; got \(2,\)"):
        checked_labels([1, 2], 3, "labels")


def test_codes_of_two_types_have_a_reason_of_their_own():
    names = "labels", "gallery_labels"
    with pytest.raises(ValueError, match=r"labels are str, gallery_labels int: .*convert them to"):
        shared_codes(np.array(["1", "2"]), np.array([1, 2]), *names)
    with pytest.raises(ValueError, match="no class in common: 3 is not among gallery_labels"):
        shared_codes(np.array([3, 4]), np.array([1, 2]), *names)
    assert shared_codes(np.array([1.0, 2.0]), np.array([2, 5]), *names)[1].tolist() == [1, 2]
