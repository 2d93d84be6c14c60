"""Metrics for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp


class Metrics:
    """Counts requests, their latency, batches, and the items of the index.

    Args:
        count_items: Returns the number of items.
    """

    def __init__(self, count_items: Callable[[], int]):
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "dml_requests", "Requests", ["route", "status"], registry=self._registry
        )
        self.latency = Histogram(
            "dml_seconds", "Seconds to the response", ["route"], registry=self._registry
        )
        self.batches = Histogram(
            "dml_batch_size", "Images in a batch", buckets=(1, 2, 4, 8, 16, 32, 64),
            registry=self._registry,
        )  # fmt: skip
        items = Gauge("dml_items", "Items in the index", registry=self._registry)
        items.set_function(count_items)

    def exposition(self) -> bytes:
        """Returns all metrics in Prometheus' text format."""
        return generate_latest(self._registry)


class MeasureRequests:
    """ASGI middleware that counts and times requests; an exception is a status 500.

    Args:
        app: The application.
        metrics: `Metrics`.
    """

    def __init__(self, app: ASGIApp, metrics: Metrics):
        self.app = app
        self.metrics = metrics

    async def __call__(self, scope, receive, send):
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began, answered = time.perf_counter(), False

        def count(status):
            nonlocal answered
            answered = True
            route = getattr(scope.get("route"), "path", "other")
            self.metrics.requests.labels(route, status).inc()
            self.metrics.latency.labels(route).observe(time.perf_counter() - began)

        async def send_measured(message):
            if message["type"] == "http.response.start":
                count(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, send_measured)
        except Exception:
            if not answered:
                count(500)
            raise
