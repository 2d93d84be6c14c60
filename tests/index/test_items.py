"""Items are prepared, completed from older ones, and spread over labels."""

import numpy as np
import pandas as pd
import pytest

from dml.errors import ArrayError
from dml.index._items import (
    as_vectors,
    check_vectors,
    item_of,
    prepare_items,
    spread,
    with_older,
)


def test_ids_paths_and_labels_come_first_and_are_text():
    table = prepare_items(pd.DataFrame({"price": [1, 2], "id": [7, 8], "label": ["a", None]}))
    assert list(table) == ["id", "path", "label", "price"]
    assert table["id"].tolist() == ["7", "8"] and table["path"].isna().all()


@pytest.mark.parametrize(
    "ids, message", [(["a", None], "must have an id"), (["a", "a"], "ids must be unique")]
)
def test_ids_are_there_and_unique(ids, message):
    with pytest.raises(ValueError, match=message):
        prepare_items(pd.DataFrame({"id": ids}))
    with pytest.raises(ValueError, match="must have an id"):
        prepare_items(pd.DataFrame({"path": ids}))


def test_missing_values_are_those_of_the_older_item():
    older = prepare_items(pd.DataFrame({"id": ["b", "a"], "label": ["old b", "old a"]}))
    items = prepare_items(pd.DataFrame({"id": ["a", "b", "c"], "label": [None, "new b", None]}))
    assert with_older(items, older)["label"].tolist() == ["old a", "new b", None]
    assert items["label"].tolist() == [None, "new b", None]
    assert with_older(items, older.iloc[:0]) is items


def test_one_of_each_label_comes_before_a_second_of_any():
    labels = ["a"] * 50 + ["b"] * 3 + [None]
    positions = spread(labels, 6, seed=0)
    chosen = [labels[position] for position in positions]
    assert set(chosen[:3]) == {"a", "b", None} and sorted(chosen[3:5]) == ["a", "b"]
    assert chosen[5] in ("a", "b") and len(set(positions.tolist())) == 6
    assert spread(labels, 6, seed=0).tolist() == positions.tolist()
    assert sorted(spread(labels, 100, seed=1).tolist()) == list(range(54))
    assert spread([], 6, seed=0).tolist() == []


def test_an_item_has_the_types_of_json():
    values = (np.int64(7), np.float64("nan"), pd.NA, np.bool_(True), "x")
    item = item_of("abcde", values)
    assert item == {"a": 7, "b": None, "c": None, "d": True, "e": "x"}
    assert [type(value) for value in item.values()] == [int, type(None), type(None), bool, str]


@pytest.mark.parametrize("length", [10, 0.5, 1.01, 1e30])
def test_vectors_have_length_1(length):
    vectors = np.eye(3, dtype="float32")
    check_vectors(vectors * np.float32(1 + 1e-5), 3, 3)
    check_vectors(0 * vectors, 3, 3)  # of images in which an encoder finds nothing
    vectors[1] *= length
    with pytest.raises(ArrayError, match=r"vectors must be of length 1; that of row 1 is"):
        check_vectors(vectors, 3, 3)


def test_tensors_are_vectors_and_texts_are_not():
    torch = pytest.importorskip("torch")
    found = as_vectors(torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True), "vectors")
    assert found.dtype == "float32" and found.tolist() == [[1, 1, 1]] * 2
    with pytest.raises(ArrayError, match="queries must be numbers; got"):
        as_vectors([["a", "b"]], "queries")


def test_vectors_are_finite_and_of_their_shape():
    check_vectors(np.eye(2, 3), 2, 3)
    for wrong in (np.zeros((2, 4)), np.zeros((1, 3)), np.full((2, 3), np.inf)):
        with pytest.raises(ValueError, match="vectors must be"):
            check_vectors(wrong, 2, 3)
