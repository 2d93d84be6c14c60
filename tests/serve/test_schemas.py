"""Responses as JSON."""

from dml.serve._schemas import json_response, to_item


def test_hidden_fields_are_left_out_and_infinity_becomes_text():
    item = to_item({"id": "a", "label": None, "path": "b", "price": float("-inf"), "weight": 0.5})
    body = b'{"id":"a","label":null,"price":"-inf","weight":0.5}'
    assert json_response(item).body == body
