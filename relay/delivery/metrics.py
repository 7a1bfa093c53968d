"""All Prometheus metrics, with their names (interface.md §5).

Ledger metrics are read from the database at each scrape, so that all processes show the same
values. Process metrics, such as the duration of attempts, are counted in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector as PrometheusCollector

from relay.ledger import Backlog, Configured, Ledger
from relay.ledger.values import WaitReason
from relay.model import Kind, State

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class LedgerCollector(PrometheusCollector):
    """Reads the ledger at each scrape.

    If the database is unavailable, the scrape fails: missing values raise an alarm, while stale
    values or zeros would hide the outage.
    """

    def __init__(
        self, ledger: Ledger, configured: Configured, clock: Callable[[], datetime]
    ) -> None:
        self._ledger = ledger
        self._configured = configured
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Describe no metrics, so that registering does not read the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics of the ledger."""
        statistics, now = self._ledger.statistics, self._clock()
        notifications = CounterMetricFamily(
            "relay_notifications_total", "Notifications received.", labels=("source", "verdict")
        )
        yield _filled(notifications, statistics.notification_counts())
        events = CounterMetricFamily(
            "relay_events_total", "Events; each upload counts once.", labels=("source",)
        )
        yield _filled(events, {(name,): n for name, n in statistics.event_counts().items()})
        deliveries = GaugeMetricFamily(
            "relay_deliveries", "Deliveries by current state.", labels=("kind", "state")
        )
        empty = {(kind, state): 0 for kind in Kind for state in State}
        yield _filled(deliveries, empty | statistics.counts())
        attempts = CounterMetricFamily(
            "relay_attempts_total", "Finished attempts.", labels=("kind", "destination", "outcome")
        )
        yield _filled(attempts, statistics.attempt_counts())
        yield from _backlog(self._ledger.waits.backlog(self._configured, now))
        last_events = GaugeMetricFamily(
            "relay_source_last_event_timestamp_seconds",
            "Time of the last event of the source.",
            labels=("source",),
        )
        times = statistics.last_events()
        yield _filled(last_events, {(name,): time.timestamp() for name, time in times.items()})
        silent = GaugeMetricFamily(
            "relay_source_silent",
            "1 while new objects arrive without notifications.",
            labels=("source",),
        )
        silences = self._ledger.scans.silences(now)
        yield _filled(silent, {(name,): since is not None for name, since in silences.items()})
        closed = GaugeMetricFamily(
            "relay_destination_closed",
            "1 while deliveries wait because the destination is down or paused.",
            labels=("kind", "destination", "why"),
        )
        for gate in self._ledger.destinations.all():
            for why, since in (("down", gate.down), ("paused", gate.paused)):
                closed.add_metric((str(gate.kind), gate.destination, why), int(since is not None))
        yield closed


def _backlog(backlog: Backlog) -> Iterator[Metric]:
    oldest_due = GaugeMetricFamily(
        "relay_oldest_due_seconds",
        "Seconds since the oldest due delivery that nothing holds back became due; 0 if none is.",
        labels=("kind",),
    )
    overdue = backlog.oldest_due()
    yield _filled(oldest_due, {(kind,): overdue.get(kind, 0) for kind in Kind})
    empty = {(kind, reason): 0 for kind in Kind for reason in WaitReason}
    waiting = GaugeMetricFamily(
        "relay_deliveries_waiting",
        "Pending deliveries that are held back, by reason.",
        labels=("kind", "reason"),
    )
    yield _filled(waiting, empty | backlog.waiting())
    oldest_waiting = GaugeMetricFamily(
        "relay_oldest_waiting_seconds",
        "Seconds since the oldest delivery that is held back was created; 0 if there is none.",
        labels=("kind", "reason"),
    )
    yield _filled(oldest_waiting, empty | backlog.oldest_waiting())


def _filled(family: CounterMetricFamily | GaugeMetricFamily, values: Mapping[Any, float]) -> Metric:
    """Add the values to the family; each key is a tuple of labels."""
    for labels, value in values.items():
        family.add_metric([str(label) for label in labels], float(value))
    return family


class ProcessMetrics:
    """Metrics that this process counts, in a separate registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._seconds = Histogram(
            "relay_attempt_seconds",
            "Duration of attempts in seconds.",
            labelnames=("kind",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._bytes = Counter(
            "relay_import_bytes_total",
            "Archive bytes sent to targets.",
            labelnames=("target",),
            registry=self.registry,
        )

    def attempt(self, kind: Kind, seconds: float) -> None:
        """Record the duration of an attempt."""
        self._seconds.labels(str(kind)).observe(seconds)

    def sent(self, target: str, count: int) -> None:
        """Count archive bytes sent to a target."""
        self._bytes.labels(target).inc(count)

    def watch(self, ledger: Ledger, configured: Configured, clock: Callable[[], datetime]) -> None:
        """Add the metrics of the ledger to the registry."""
        self.registry.register(LedgerCollector(ledger, configured, clock))


def render(registry: CollectorRegistry) -> tuple[bytes, str]:
    """The registry in the Prometheus text format, and the content type."""
    return generate_latest(registry), CONTENT_TYPE_LATEST
