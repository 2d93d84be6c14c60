"""Locations of Milvus are read, and its errors are one line."""

import pytest

pytest.importorskip("milvus_lite", reason="needs dml[milvus]")

from dml.index import open_index
from dml.index._milvus_client import condition_in, parse_location


@pytest.mark.parametrize(
    "location, address",
    [
        ("milvus://host", ("http://host:19530", "dml")),
        ("milvus://10.0.0.7:2000/cars", ("http://10.0.0.7:2000", "cars")),
        ("milvus://[::1]/cars_2", ("http://[::1]:19530", "cars_2")),
        ("shop.db", ("shop.db", "dml")),
    ],
)
def test_locations(location, address):
    assert parse_location(location) == address


@pytest.mark.parametrize(
    "location",
    [
        "milvus://",
        "milvus://host:x",
        "milvus://host/a/b",
        "milvus://me:secret@host",
        "milvus://h/a-b",
    ],
)
def test_locations_that_are_none(location):
    with pytest.raises(ValueError, match="write it like milvus://HOST:19530/COLLECTION"):
        parse_location(location)


def test_no_answer_is_reported_in_one_line(monkeypatch):
    monkeypatch.setattr("dml.index._milvus_client.TIMEOUT_SECONDS", 1)
    with pytest.raises(OSError, match=r"milvus://127\.0\.0\.1:9: Milvus reports: ") as told:
        open_index("milvus://127.0.0.1:9")
    assert "\n" not in str(told.value)


def test_values_are_quoted_for_milvus():
    assert condition_in("id", ["a", 'b"c', "ö"]) == 'id in ["a", "b\\"c", "ö"]'
