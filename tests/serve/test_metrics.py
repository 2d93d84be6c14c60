"""Requests are counted by route and status, batches by size."""

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from dml.serve._metrics import MeasureRequests, Metrics


def test_counts_requests_batches_and_items():
    metrics, app = Metrics(lambda: 12), FastAPI()
    app.add_middleware(MeasureRequests, metrics=metrics)
    app.get("/hello/{name}")(lambda name: name)
    app.get("/fail")(lambda: 1 / 0)
    client = TestClient(app)
    statuses = [client.get(path).status_code for path in ("/hello/a", "/hello/b", "/none")]
    assert statuses == [200, 200, 404]
    metrics.batches.observe(3)
    with pytest.raises(ZeroDivisionError):
        client.get("/fail")
    text = metrics.exposition().decode()
    assert 'dml_requests_total{route="/hello/{name}",status="200"} 2.0' in text
    assert 'dml_requests_total{route="other",status="404"} 1.0' in text
    assert 'dml_seconds_count{route="/hello/{name}"} 2.0' in text
    assert 'dml_requests_total{route="/fail",status="500"} 1.0' in text
    assert "dml_batch_size_sum 3.0" in text and "dml_items 12.0" in text
