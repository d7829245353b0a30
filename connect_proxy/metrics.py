"""What the edge counts. Plain integers on the request path; Prometheus reads them when it asks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


@dataclass(slots=True)
class EdgeCounters:
    """Totals since the start."""

    requests: int = 0
    websockets: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    """By reason, a short fixed vocabulary."""
    failed: Counter[str] = field(default_factory=Counter)
    """Responses the edge had to make because something failed, by status."""


class EdgeCollector(Collector):
    """Turns counters and present state into Prometheus metrics."""

    def __init__(self, counters: EdgeCounters, gauges: Callable[[], dict[str, int]]) -> None:
        self._counters = counters
        self._gauges = gauges

    def collect(self) -> Iterable[Metric]:
        counters = self._counters
        yield CounterMetricFamily(
            "studios_edge_requests", "Requests to sessions", value=counters.requests
        )
        yield CounterMetricFamily(
            "studios_edge_websockets", "WebSockets joined", value=counters.websockets
        )
        refused = CounterMetricFamily(
            "studios_edge_refused", "Requests refused, by reason", labels=["reason"]
        )
        for reason, count in counters.refused.items():
            refused.add_metric([reason], count)
        yield refused
        failed = CounterMetricFamily(
            "studios_edge_failed", "Requests that failed at the edge", labels=["status"]
        )
        for status, count in counters.failed.items():
            failed.add_metric([status], count)
        yield failed
        for name, value in self._gauges().items():
            yield GaugeMetricFamily(f"studios_edge_{name}", name.replace("_", " "), value=value)
