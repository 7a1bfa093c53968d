"""All Prometheus metrics, with their names (interface.md §5).

Ledger metrics are read from the database at each scrape, so that all processes show the same
values. Process metrics, such as the duration of attempts, are counted in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector as PrometheusCollector

from relay.ledger import Ledger
from relay.model import Kind, State

NOTIFICATIONS = "relay_notifications_total"
EVENTS = "relay_events_total"
DELIVERIES = "relay_deliveries"
ATTEMPTS = "relay_attempts_total"
ATTEMPT_SECONDS = "relay_attempt_seconds"
OLDEST_DUE = "relay_oldest_due_seconds"
IMPORT_BYTES = "relay_import_bytes_total"
LAST_EVENT = "relay_source_last_event_timestamp_seconds"
SILENT = "relay_source_silent"
CLOSED = "relay_destination_closed"

_BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)


class LedgerCollector(PrometheusCollector):
    """Reads the ledger at each scrape.

    If the database is unavailable, the scrape fails: missing values raise an alarm, while stale
    values or zeros would hide the outage.
    """

    def __init__(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        self._ledger = ledger
        self._clock = clock

    def describe(self) -> Iterable[Metric]:
        """Describes no metrics, so that registering does not read the ledger."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yields all metrics of the ledger."""
        yield self._notifications()
        yield self._events()
        yield self._deliveries()
        yield self._attempts()
        yield self._oldest_due()
        yield self._last_events()
        yield self._silences()
        yield self._gates()

    def _notifications(self) -> Metric:
        family = CounterMetricFamily(
            NOTIFICATIONS, "Notifications received.", labels=("source", "verdict")
        )
        for (source, verdict), count in self._ledger.statistics.notification_counts().items():
            family.add_metric((source, str(verdict)), count)
        return family

    def _events(self) -> Metric:
        family = CounterMetricFamily(EVENTS, "Events; each upload counts once.", labels=("source",))
        for source, count in self._ledger.statistics.event_counts().items():
            family.add_metric((source,), count)
        return family

    def _deliveries(self) -> Metric:
        family = GaugeMetricFamily(
            DELIVERIES, "Deliveries by current state.", labels=("kind", "state")
        )
        counts = self._ledger.statistics.counts()
        for kind in Kind:
            for state in State:
                family.add_metric((str(kind), str(state)), counts.get((kind, state), 0))
        return family

    def _attempts(self) -> Metric:
        family = CounterMetricFamily(
            ATTEMPTS, "Finished attempts.", labels=("kind", "destination", "outcome")
        )
        for (kind, destination, outcome), count in self._ledger.statistics.attempt_counts().items():
            family.add_metric((str(kind), destination, outcome), count)
        return family

    def _oldest_due(self) -> Metric:
        family = GaugeMetricFamily(
            OLDEST_DUE,
            "Seconds since the oldest due delivery became due; 0 if none is due.",
            labels=("kind",),
        )
        overdue = self._ledger.statistics.oldest_due(self._clock())
        for kind in Kind:
            family.add_metric((str(kind),), overdue.get(kind, 0.0))
        return family

    def _last_events(self) -> Metric:
        family = GaugeMetricFamily(
            LAST_EVENT, "Time of the last event of the source.", labels=("source",)
        )
        for source, moment in self._ledger.statistics.last_events().items():
            family.add_metric((source,), moment.timestamp())
        return family

    def _silences(self) -> Metric:
        family = GaugeMetricFamily(
            SILENT, "1 while new objects arrive without notifications.", labels=("source",)
        )
        for source, since in self._ledger.scans.silences(self._clock()).items():
            family.add_metric((source,), int(since is not None))
        return family

    def _gates(self) -> Metric:
        family = GaugeMetricFamily(
            CLOSED,
            "1 while deliveries wait because the destination is down or paused.",
            labels=("kind", "destination", "why"),
        )
        for gate in self._ledger.destinations.all():
            for why, since in (("down", gate.down), ("paused", gate.paused)):
                family.add_metric((str(gate.kind), gate.destination, why), int(since is not None))
        return family


class ProcessMetrics:
    """Metrics that this process counts, in a separate registry."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._seconds = Histogram(
            ATTEMPT_SECONDS,
            "Duration of attempts in seconds.",
            labelnames=("kind",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self._bytes = Counter(
            IMPORT_BYTES,
            "Archive bytes sent to targets.",
            labelnames=("target",),
            registry=self.registry,
        )

    def attempt(self, kind: Kind, seconds: float) -> None:
        """Records the duration of an attempt."""
        self._seconds.labels(str(kind)).observe(seconds)

    def sent(self, target: str, count: int) -> None:
        """Counts archive bytes sent to a target."""
        self._bytes.labels(target).inc(count)

    def watch(self, ledger: Ledger, clock: Callable[[], datetime]) -> None:
        """Adds the metrics of the ledger to the registry."""
        self.registry.register(LedgerCollector(ledger, clock))


def render(registry: CollectorRegistry) -> tuple[bytes, str]:
    """The registry in the Prometheus text format, and the content type."""
    return generate_latest(registry), CONTENT_TYPE_LATEST
