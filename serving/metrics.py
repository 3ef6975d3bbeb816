"""Counts what the server does, for Prometheus and for its own page."""

import collections
import statistics
import time
from collections.abc import Callable, Iterable

import prometheus_client
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from serving.manager import ModelManager
from serving.served_versions import AVAILABLE

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST.encode()
_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1_024)
# Requests whose latency the page shows.
_RECENT = 2_000
_RECENT_SECONDS = 60.0


class Metrics:
    """Counters of one server, in a registry of their own."""

    def __init__(self):
        """Starts at zero."""
        self.registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self.registry)
        self._latency = prometheus_client.Histogram(
            "t2rec_request_seconds",
            "Seconds from a request's arrival to its answer.",
            ["transport", "model", "signature"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._requests = prometheus_client.Counter(
            "t2rec_requests",
            "Requests by the gRPC status code of their answer.",
            ["transport", "model", "signature", "code"],
            registry=self.registry,
        )
        self._refused = prometheus_client.Counter(
            "t2rec_refused_requests",
            "Requests that were refused because too many were waiting.",
            registry=self.registry,
        )
        self._batch_rows = prometheus_client.Histogram(
            "t2rec_batch_rows",
            "Rows of the calls to a model.",
            ["model", "signature"],
            buckets=_ROWS,
            registry=self.registry,
        )
        self._queue_seconds = prometheus_client.Histogram(
            "t2rec_queue_seconds",
            "Seconds that the oldest request of a call waited for the model.",
            ["model", "signature"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        # Finding a labelled child costs more than counting with it.
        self._children: dict[tuple, tuple] = {}
        self._recent: collections.deque[tuple[float, float]] = collections.deque(maxlen=_RECENT)

    def watch(
        self, pending: Callable[[], int], waiting: Callable[[], int], manager: ModelManager
    ) -> None:
        """Adds what is asked of others when the metrics are read.

        Args:
          pending: Tells how many requests are under way.
          waiting: Tells how many of them wait for a model.
          manager: Knows the versions.
        """
        for name, help_, read in (
            ("t2rec_pending_requests", "Requests under way.", pending),
            ("t2rec_queue_requests", "Requests that wait for a model.", waiting),
        ):
            gauge = prometheus_client.Gauge(name, help_, registry=self.registry)
            gauge.set_function(read)
        self.registry.register(_Versions(manager))

    def count_request(
        self, transport: str, model: str, signature: str, code: str, seconds: float
    ) -> None:
        """Counts an answer.

        Args:
          transport: What it went over.
          model: Name of the model; "" if there is none of the name.
          signature: Name of the signature; "" if there is none of the name.
          code: Name of the gRPC status code.
          seconds: How long it took.
        """
        key = (transport, model, signature, code)
        children = self._children.get(key)
        if not children:
            children = self._children[key] = (
                self._requests.labels(*key),
                self._latency.labels(*key[:3]),
            )
        children[0].inc()
        if code == "OK":
            children[1].observe(seconds)
            self._recent.append((time.monotonic(), seconds))

    def count_refused(self) -> None:
        """Counts a request that was refused."""
        self._refused.inc()

    def count_batch(self, model: str, signature: str, rows: int, waited_seconds: float) -> None:
        """Counts a call to a model.

        Args:
          model: Name of the model.
          signature: Name of the signature.
          rows: Rows of the call.
          waited_seconds: How long its oldest request waited.
        """
        key = (model, signature)
        children = self._children.get(key)
        if not children:
            children = self._children[key] = (
                self._batch_rows.labels(*key),
                self._queue_seconds.labels(*key),
            )
        children[0].observe(rows)
        children[1].observe(waited_seconds)

    def export(self) -> bytes:
        """Writes everything in Prometheus's text format."""
        return prometheus_client.generate_latest(self.registry)

    def recent(self) -> dict[str, float]:
        """Sums up the last minute: `requests_per_second`, `p50_ms`, `p99_ms`."""
        now = time.monotonic()
        recent = [(t, s) for t, s in self._recent if now - t <= _RECENT_SECONDS]
        if len(recent) < 2:
            milliseconds = recent[0][1] * 1e3 if recent else 0.0
            return {"requests_per_second": 0.0, "p50_ms": milliseconds, "p99_ms": milliseconds}
        cuts = statistics.quantiles([s for _, s in recent], n=100, method="inclusive")
        return {
            "requests_per_second": len(recent) / max(now - recent[0][0], 1.0),
            "p50_ms": cuts[49] * 1e3,
            "p99_ms": cuts[98] * 1e3,
        }

    def memory_bytes(self) -> float:
        """Returns the resident memory of the process."""
        return self.registry.get_sample_value("process_resident_memory_bytes") or 0.0


class _Versions(Collector):
    """Tells which models can answer, and the state of each version."""

    def __init__(self, manager: ModelManager):
        self._manager = manager

    def collect(self) -> Iterable[GaugeMetricFamily]:
        # Of a model without a version there is no other series that an alert could see.
        available = GaugeMetricFamily(
            "t2rec_model_available",
            "1 for each configured model that can answer, 0 for one that can't.",
            labels=["model"],
        )
        family = GaugeMetricFamily(
            "t2rec_model_version",
            "1 for each version of a model and the state that it is in.",
            labels=["model", "version", "state"],
        )
        broken = GaugeMetricFamily(
            "t2rec_broken_model_version",
            "1 for each version that can't be served.",
            labels=["model", "version"],
        )
        for name, statuses in self._manager.all_statuses().items():
            available.add_metric([name], any(s.state == AVAILABLE for s in statuses))
            for status in statuses:
                family.add_metric([name, str(status.version), status.state], 1)
                if status.code != "OK":
                    broken.add_metric([name, str(status.version)], 1)
        yield available
        yield family
        yield broken
