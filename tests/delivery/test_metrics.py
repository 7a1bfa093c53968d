"""Metrics: the names that dashboards rely on, read from the ledger at each scrape."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from prometheus_client.parser import text_string_to_metric_families

from relay.delivery.metrics import ProcessMetrics, render
from relay.errors import TemporaryFailure
from relay.ledger import Backlog, Configured, Gate
from relay.ledger.values import WaitReason
from relay.ledger.waits import WaitingGroup
from relay.model import Kind, State, Verdict

NOW = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


CONFIGURED = Configured(frozenset(), frozenset(), {}, {})


class FakeLedger:
    """The statistics of a ledger, with fixed values."""

    def __init__(self):
        self.states = {(Kind.IMPORT, State.SUCCEEDED): 5, (Kind.MESSAGE, State.PENDING): 2}
        self.requests = []
        self.is_unavailable = False
        self.statistics = self.scans = self.destinations = self.waits = self

    def counts(self):
        if self.is_unavailable:
            raise TemporaryFailure("store.unavailable", "The ledger does not answer")
        return self.states

    def backlog(self, configured, now):
        self.requests.append(now)
        assert configured is CONFIGURED

        def group(reason, number, **since):
            moment = now - timedelta(**since)
            return WaitingGroup(Kind.IMPORT, "prod", "s", reason, number, moment, moment)

        groups = [
            group(None, 3, seconds=12.5),
            group(WaitReason.PAUSED, 2, minutes=1),
            group(WaitReason.PAUSED, 1, minutes=2),
        ]
        return Backlog(groups, [], now)

    def last_events(self):
        return {"exports": NOW}

    def silences(self, now):
        return {"exports": now, "other": None}

    def event_counts(self):
        return {"exports": 7}

    def attempt_counts(self):
        return {(Kind.IMPORT, "prod", "succeeded"): 5, (Kind.IMPORT, "prod", "retry"): 1}

    def notification_counts(self):
        return {("exports", Verdict.ACCEPTED): 9, ("exports", Verdict.UNREADABLE): 1}

    def all(self):
        return [
            Gate(Kind.IMPORT, "prod", None, None, NOW, 10),
            Gate(Kind.IMPORT, "test", NOW, NOW, None, 0),
        ]


@pytest.fixture
def ledger():
    return FakeLedger()


@pytest.fixture
def metrics(ledger):
    metrics = ProcessMetrics()
    metrics.watch(ledger, CONFIGURED, lambda: NOW)
    return metrics


def samples(metrics):
    text, _ = render(metrics.registry)
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize(
    ("name", "labels", "value"),
    [
        (
            "relay_destination_closed",
            {"kind": "import", "destination": "prod", "why": "down"},
            1,
        ),
        (
            "relay_destination_closed",
            {"kind": "import", "destination": "prod", "why": "paused"},
            0,
        ),
        (
            "relay_destination_closed",
            {"kind": "import", "destination": "test", "why": "paused"},
            1,
        ),
        ("relay_notifications_total", {"source": "exports", "verdict": "accepted"}, 9),
        ("relay_notifications_total", {"source": "exports", "verdict": "unreadable"}, 1),
        ("relay_events_total", {"source": "exports"}, 7),
        ("relay_deliveries", {"kind": "import", "state": "succeeded"}, 5),
        ("relay_deliveries", {"kind": "message", "state": "pending"}, 2),
        (
            "relay_attempts_total",
            {"kind": "import", "destination": "prod", "outcome": "retry"},
            1,
        ),
        ("relay_oldest_due_seconds", {"kind": "import"}, 12.5),
        ("relay_deliveries_waiting", {"kind": "import", "reason": "paused"}, 3),
        ("relay_deliveries_waiting", {"kind": "message", "reason": "quiet hours"}, 0),
        ("relay_oldest_waiting_seconds", {"kind": "import", "reason": "paused"}, 120),
        (
            "relay_source_last_event_timestamp_seconds",
            {"source": "exports"},
            NOW.timestamp(),
        ),
        ("relay_source_silent", {"source": "exports"}, 1),
        ("relay_source_silent", {"source": "other"}, 0),
    ],
)
def test_ledger_metrics_have_the_documented_names(metrics, name, labels, value):
    assert samples(metrics)[name, tuple(sorted(labels.items()))] == value


def test_a_state_without_deliveries_has_the_value_zero(metrics):
    values = samples(metrics)
    for kind in Kind:
        for state in State:
            assert ("relay_deliveries", (("kind", kind), ("state", state))) in values
    assert values["relay_oldest_due_seconds", (("kind", "message"),)] == 0


def test_every_scrape_reads_the_ledger(metrics, ledger):
    assert ledger.requests == []
    samples(metrics)
    ledger.states = {(Kind.IMPORT, State.SUCCEEDED): 6}
    succeeded = ("relay_deliveries", (("kind", "import"), ("state", "succeeded")))
    assert samples(metrics)[succeeded] == 6
    assert ledger.requests == [NOW, NOW]


def test_an_unavailable_database_fails_the_scrape(metrics, ledger):
    ledger.is_unavailable = True
    with pytest.raises(TemporaryFailure):
        render(metrics.registry)


def test_attempts_are_timed_and_bytes_counted_in_the_process(metrics):
    metrics.attempt(Kind.IMPORT, 0.2)
    metrics.attempt(Kind.IMPORT, 75)
    metrics.sent("prod", 1000)
    metrics.sent("prod", 24)
    values = samples(metrics)
    assert values["relay_attempt_seconds_count", (("kind", "import"),)] == 2
    assert values["relay_attempt_seconds_bucket", (("kind", "import"), ("le", "0.25"))] == 1
    assert values["relay_import_bytes_total", (("target", "prod"),)] == 1024


def test_two_relays_in_a_process_count_separately(metrics):
    metrics.sent("prod", 1)
    assert ("relay_import_bytes_total", (("target", "prod"),)) not in samples(ProcessMetrics())


def test_metrics_are_rendered_as_prometheus_text(metrics):
    _, content_type = render(metrics.registry)
    assert content_type.startswith("text/plain; version=")
