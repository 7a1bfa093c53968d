"""Housekeeping takes away what [retention] says is old, and stops when it is asked to."""

import json
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest

from relay.config.load import RetentionSettings, Settings
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


def keeper(ledger, now, **rules):
    settings = Settings(retention=RetentionSettings(**rules))
    return RetentionLoop(settings, ledger, clock=lambda: now, pause=0)


@pytest.mark.no_cover  # much of the same
def test_a_year_later_only_the_newest_upload_is_known(ledger):
    for version in range(700):
        upload(ledger, version, NOW + timedelta(seconds=version))
    gone = keeper(ledger, NOW + timedelta(days=365)).tidy()
    assert gone == PruneResult(None, 699, 699, 1)
    assert keeper(ledger, NOW + timedelta(days=365)).tidy() == PruneResult(None)
    assert upload(ledger, 699, NOW + timedelta(days=366)).new_events == 0


@pytest.mark.no_cover  # much of the same
@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_the_file_does_not_grow_once_it_is_full(ledger, tmp_path):
    """SQLite's file: PostgreSQL's vacuum is its operator's."""
    sizes = []
    now = NOW
    for _ in range(4):
        for _ in range(300):
            upload(ledger, str(now), now)
            now += timedelta(seconds=1)
        keeper(ledger, now, deliveries=100).tidy()
        sizes.append((tmp_path / "relay.db").stat().st_size)
    assert sizes[-1] <= sizes[1] * 1.1


@pytest.mark.no_cover  # much of the same
@pytest.mark.parametrize("ledger_url", ["sqlite"], indirect=True)
def test_a_stop_ends_it_after_its_page(ledger):
    for version in range(1100):
        upload(ledger, version, NOW + timedelta(milliseconds=version))
    tidier = keeper(ledger, NOW + timedelta(days=365))
    tidier.stop()
    assert tidier.tidy() == PruneResult(None)


def test_it_starts_and_stops_with_the_worker(ledger):
    tidier = keeper(ledger, NOW)
    tidier.start()
    tidier.stop()
    assert not tidier._thread.is_alive()


def test_it_begins_within_minutes_and_not_all_at_one_moment(ledger, monkeypatch):
    waits = []
    tidier = keeper(ledger, NOW)
    monkeypatch.setattr(tidier._stopping, "wait", lambda seconds: waits.append(seconds) or True)
    for _ in range(20):
        tidier._run()
    assert all(180 <= wait <= 360 for wait in waits)
    assert len(set(waits)) > 1


def test_it_tries_again_soon_when_others_held_the_database(ledger, monkeypatch):
    tidier = keeper(ledger, NOW)
    assert tidier.turn() == timedelta(hours=1)
    held = unavailable("locked", "another process holds it", "被其他进程占用")
    monkeypatch.setattr(ledger.retention, "cutoff", Mock(side_effect=held))
    assert timedelta(minutes=1) <= tidier.turn() <= timedelta(minutes=2)


def test_lessons_that_nobody_asks_for_go_too(ledger):
    ledger.digests.remember("prod", "aa", "01")
    keeper(ledger, NOW).tidy()
    keeper(ledger, NOW + timedelta(days=91)).tidy()
    assert ledger.digests.find("prod", "aa") is None
