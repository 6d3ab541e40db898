"""The server's metrics, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from orchestrator.serving.server.batching import Group

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """Counters and histograms of one server. Labels hold only names of routes and of served models."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self._registry = registry
        ProcessCollector(registry=registry)
        self._requests = Counter("loratory_requests", "Answered requests", ["route", "status"], registry=registry)
        self._request_s = Histogram(
            "loratory_request_seconds",
            "Time from the arrival of a request to its answer",
            ["route"],
            buckets=SECONDS,
            registry=registry,
        )
        self._rows = Counter("loratory_rows", "Predicted rows", ["model"], registry=registry)
        self._batch_rows = Histogram(
            "loratory_batch_rows", "Rows computed together", ["model"], buckets=ROWS, registry=registry
        )
        self._batch_s = Histogram(
            "loratory_batch_seconds",
            "Time of the computation of a batch",
            ["model"],
            buckets=SECONDS,
            registry=registry,
        )
        self._waiting = Gauge("loratory_waiting_rows", "Rows that wait for the computing thread", registry=registry)

    def watch_waiting(self, read: Callable[[], float]) -> None:
        """Set the function that returns the number of waiting rows."""
        self._waiting.set_function(read)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(route, str(status)).inc()
        self._request_s.labels(route).observe(seconds)

    def computed(self, group: Group, num_rows: int, seconds: float) -> None:
        """Count a computed batch."""
        self._rows.labels(group.model).inc(num_rows)
        self._batch_rows.labels(group.model).observe(num_rows)
        self._batch_s.labels(group.model).observe(seconds)

    def text(self) -> bytes:
        """Return all metrics in the text format of Prometheus."""
        return generate_latest(self._registry)
