"""The retention loop removes what [retention] allows to remove, and stops when asked to."""

import json
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from relay.config.load import RetentionSettings
from relay.delivery.retention_loop import RetentionLoop
from relay.ledger import NewNotification, PruneResult, RoutedEvent
from relay.ledger.errors import unavailable
from relay.model import Event, Incoming, NewDelivery, ObjectRef, State, Verdict

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def upload(ledger, version, now):
    event = Event(ObjectRef("b", "a.zip", version), f"version:{version}", "Put", now)
    skipped = NewDelivery("r", "", {}, (), State.SKIPPED, "no route")
    incoming = Incoming("s", json.dumps({"version": version}).encode(), now)
    return ledger.intake.accept(
        NewNotification(incoming, Verdict.ACCEPTED, None, ("bare",)),
        [RoutedEvent(event, (skipped,))],
        now,
    )


def loop_at(ledger, now, **settings):
    settings = RetentionSettings(**settings)
    return RetentionLoop(settings, ledger.retention, clock=lambda: now, pause=0)


def test_a_year_later_only_the_newest_upload_is_known(ledger):
    for version in range(700):
        upload(ledger, version, NOW + timedelta(seconds=version))
    removed = loop_at(ledger, NOW + timedelta(days=365)).prune()
    assert removed == PruneResult(None, 699, 699, 1)
    assert loop_at(ledger, NOW + timedelta(days=365)).prune() == PruneResult(None)
    assert upload(ledger, 699, NOW + timedelta(days=366)).new_events == 0


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_sqlite_file_does_not_grow_once_it_is_full(ledger, tmp_path):
    """PostgreSQL is not checked here: operators configure the vacuum."""
    sizes = []
    now = NOW
    for _ in range(4):
        for _ in range(300):
            upload(ledger, str(now), now)
            now += timedelta(seconds=1)
        loop_at(ledger, now, deliveries=100).prune()
        sizes.append((tmp_path / "relay.db").stat().st_size)
    assert sizes[-1] <= sizes[1] * 1.1


@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_stop_ends_the_loop_after_the_current_page(ledger):
    for version in range(1100):
        upload(ledger, version, NOW + timedelta(milliseconds=version))
    loop = loop_at(ledger, NOW + timedelta(days=365))
    loop.stop()
    assert loop.prune() == PruneResult(None)


def test_the_thread_starts_and_stops(ledger):
    loop = loop_at(ledger, NOW)
    loop.start()
    loop.stop()
    assert not loop._thread.is_alive()


def test_the_first_run_comes_within_minutes_at_a_random_moment(ledger, monkeypatch):
    waits = []
    loop = loop_at(ledger, NOW)
    monkeypatch.setattr(loop._stopping, "wait", lambda seconds: waits.append(seconds) or True)
    for _ in range(20):
        loop._run()
    assert all(180 <= wait <= 360 for wait in waits)
    assert len(set(waits)) > 1


def test_a_run_that_finds_the_database_locked_is_repeated_soon(ledger, monkeypatch):
    loop = loop_at(ledger, NOW)
    assert loop.run_once() == timedelta(hours=1)
    locked = unavailable("locked", "another process holds it", "被其他进程占用")
    monkeypatch.setattr(ledger.retention, "cutoff", Mock(side_effect=locked))
    assert timedelta(minutes=1) <= loop.run_once() <= timedelta(minutes=2)


def test_digests_that_are_no_longer_used_are_removed(ledger):
    ledger.digests.remember("prod", "aa", "01")
    loop_at(ledger, NOW).prune()
    loop_at(ledger, NOW + timedelta(days=91)).prune()
    assert ledger.digests.find("prod", "aa") is None
