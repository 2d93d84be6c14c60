"""JSON files survive the round trip, and damage is named."""

import pytest

from dml._storage.records import read_json, write_json


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
