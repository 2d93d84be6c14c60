"""JSON files survive the round trip, and damage is reported."""

import pytest

from dml._storage.records import misfit, read_json, read_sealed, write_json, write_sealed
from dml.errors import DataError
from tests.storage.durability import Journal


def test_json_survives_the_round_trip_and_damage_is_named(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"a": [1, 2.5, None]})
    assert read_json(path) == {"a": [1, 2.5, None]}
    path.write_text("{")
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        read_json(path)


@pytest.mark.parametrize("text", ["[" * 100_000, "9" * 5000, '"\ud800', "\x00"])
def test_json_that_no_parser_takes_is_one_error(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(ValueError, match=r"a\.json: not valid JSON"):
        read_json(path)


def test_json_is_written_durably(tmp_path, monkeypatch):
    journal = Journal(monkeypatch)
    write_json(tmp_path / "a.json", [1, 2])
    write_sealed(tmp_path / "b.json", {"schema": 1})
    journal.require_durable(tmp_path / "a.json")
    journal.require_durable(tmp_path / "b.json")
    assert read_sealed(tmp_path / "b.json", 1, "") == {"schema": 1}


def test_another_version_is_told_from_damage(tmp_path):
    path = tmp_path / "a.json"
    for text, message in (
        ('{"schema": 1, "a": 2}', "of another version of dml: its schema is 1, not 2; do this"),
        ('{"schema": 2, "a": 2}', "damaged: its SHA-256 does not match; do this"),
        ('{"a": 2}', "damaged, or of another version of dml: it has no schema; do this"),
        ("[2]", "damaged, or of another version of dml: it has no schema; do this"),
    ):
        path.write_text(text)
        with pytest.raises(DataError, match=message):
            read_sealed(path, 2, "do this")


def test_a_changed_digit_is_damage_though_the_number_is_the_same(tmp_path):
    path = tmp_path / "a.json"
    write_sealed(path, {"schema": 1, "recall": 0.1 + 0.2})
    text = path.read_text()
    assert float("0.30000000000000005") == 0.1 + 0.2
    path.write_text(text.replace("0.30000000000000004", "0.30000000000000005"))
    with pytest.raises(DataError, match="damaged: its SHA-256 does not match"):
        read_sealed(path, 1, "")
    path.write_text(text)
    assert read_sealed(path, 1, "")["recall"] == 0.1 + 0.2


@pytest.mark.parametrize(
    "value, schema, field",
    [
        ({"a": 1}, {"a": int}, None),
        ({"a": True}, {"a": int}, "a"),
        ({}, {"a": int}, "a"),
        ({"a": {"b": 1, "c": "2"}}, {"a": {str: int}}, "a.c"),
        ([1, "2"], [int], "1"),
        ([], {"a": int}, "its value"),
        (None, (int, type(None)), None),
    ],
)
def test_the_first_field_that_does_not_fit_is_named(value, schema, field):
    assert misfit(value, schema) == field
