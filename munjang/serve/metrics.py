"""Numbers of a server in Prometheus' text format. Names of models and paths only: nothing of what clients send."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from munjang.serve.served import Served

#: Seconds; from a single short text on a fast machine to the deadline.
_SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The numbers of one server; each server has its own, so that several may live in one process."""

    def __init__(self, served: Served) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "munjang_requests", "Requests by path and status.", ("path", "status"), registry=self._registry
        )
        self.seconds = Histogram(
            "munjang_request_seconds",
            "From the first byte of the body to the answer.",
            ("path",),
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.open = Gauge("munjang_requests_open", "Requests that are being answered.", registry=self._registry)
        self.tokens = Counter("munjang_tokens", "Tokens of answered requests.", ("model",), registry=self._registry)
        self.truncated = Counter(
            "munjang_truncated", "Inputs of which the end was cut off.", ("model",), registry=self._registry
        )
        self._registry.register(_Lanes(served))

    def text(self) -> bytes:
        """All numbers."""
        return generate_latest(self._registry)


class _Lanes:
    """The queues, read when they are asked for."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def collect(self) -> Iterator[Any]:
        """See `prometheus_client.registry.Collector`."""
        lanes = self._served.lanes()
        for name, about, value in (
            ("munjang_queue_jobs", "Requests that wait for a model.", lambda lane: lane.waiting),
            ("munjang_queue_tokens", "Tokens that wait for a model, at most.", lambda lane: lane.tokens),
            ("munjang_running_jobs", "Requests that a model computes now.", lambda lane: lane.running),
            ("munjang_worker_alive", "1 while the model's worker lives.", lambda lane: int(lane.alive)),
        ):
            gauge = GaugeMetricFamily(name, about, labels=["model"])
            for lane in lanes:
                gauge.add_metric([lane.name], value(lane))
            yield gauge
        for name, about, value in (
            ("munjang_batches", "Batches that a model has computed.", lambda lane: lane.batches),
            ("munjang_dropped", "Requests dropped unread: client gone, or too late.", lambda lane: lane.dropped),
        ):
            counter = CounterMetricFamily(name, about, labels=["model"])
            for lane in lanes:
                counter.add_metric([lane.name], value(lane))
            yield counter
