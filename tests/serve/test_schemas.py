"""Responses as JSON."""

from types import SimpleNamespace

from dml.evaluation import CalibratedThreshold
from dml.serve._holder import Snapshot
from dml.serve._schemas import json_response, to_item, to_response
from tests.bundles import THRESHOLDS


def test_hidden_fields_are_left_out_and_infinity_becomes_text():
    item = to_item({"id": "a", "label": None, "path": "b", "price": float("-inf"), "weight": 0.5})
    body = b'{"id":"a","label":null,"price":"-inf","weight":0.5}'
    assert json_response(item).body == body


def test_a_neighbour_is_the_same_from_the_threshold_on():
    threshold = CalibratedThreshold.from_json(THRESHOLDS[0])
    encoder = SimpleNamespace(thresholds=(threshold,), calibrated_threshold=lambda: threshold)
    near = [(score, {"id": "a", "label": "b", "path": "c"}) for score in (0.75, 0.5, 0.4999999)]
    response = to_response(Snapshot(None, encoder), near, "data:", 0.25)
    assert response.threshold == 0.5 and response.crop == "data:" and response.seconds == 0.25
    assert [one.same for one in response.results] == [True, True, False]
    assert [one.similarity for one in response.results] == [0.75, 0.5, 0.5]
    unknown = to_response(Snapshot(None, SimpleNamespace(thresholds=())), near, None, 0.25)
    assert unknown.threshold is None and {one.same for one in unknown.results} == {None}
