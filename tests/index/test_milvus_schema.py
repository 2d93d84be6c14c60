"""The metadata of a collection survive the round trip; invalid metadata are rejected."""

import json

import pandas as pd
import pytest

from dml.index import HnswSearch, Recall, SearchParameters
from dml.index._items import prepare_items
from dml.index._milvus_schema import CollectionInfo, check_names, check_texts

INFO = CollectionInfo("0" * 64, 6, "hnsw", HnswSearch(64), Recall(0.95, 0.97, 256, 1e-3))


@pytest.mark.parametrize(
    "info", [INFO, CollectionInfo("0" * 64, 6, "auto", SearchParameters(), Recall(0.95))]
)
def test_is_read_as_it_was_written(info):
    assert CollectionInfo.from_properties(info.to_properties(), "shop.db") == info


@pytest.mark.parametrize(
    "change",
    [
        {"search": {}},
        {"search": {"ef_search": 0}},
        {"recall": {}},
        {"recall": None},
    ],
)
def test_what_is_damaged_is_refused(change):
    value = {**json.loads(INFO.to_properties()["dml"]), **change}
    for text in (json.dumps(value), "{", "[]", "7"):
        with pytest.raises(ValueError, match=r"shop\.db: damaged: the property 'dml' is not what"):
            CollectionInfo.from_properties({"dml": text}, "shop.db")


def test_of_another_version_is_refused():
    value = json.dumps({**json.loads(INFO.to_properties()["dml"]), "schema": 1})
    with pytest.raises(ValueError, match="of another version of dml: its schema is 1, not 2"):
        CollectionInfo.from_properties({"dml": value}, "shop.db")
    with pytest.raises(ValueError, match="this collection is not written by dml"):
        CollectionInfo.from_properties({}, "shop.db")


def test_columns_and_texts_that_milvus_can_not_keep_are_named():
    check_names(pd.DataFrame({"id": ["a"], "price_2": [1]}))
    check_texts(prepare_items(pd.DataFrame({"id": ["größe '7'"]})))
    for table, message in (
        ({"id": ['a"']}, "an id in Milvus has no quotes"),
        ({"id": ["é" * 2049]}, "is longer than 4,096 bytes"),
        ({"id": ["a"], "note": ["x" * 65_536]}, "note .* is longer than 65,535 bytes"),
    ):
        with pytest.raises(ValueError, match=message):
            check_texts(prepare_items(pd.DataFrame(table)))
    with pytest.raises(ValueError, match="column 'two words': Milvus has no field of this name"):
        check_names(pd.DataFrame({"two words": [1]}))
