"""Tests of accepting notifications."""

from __future__ import annotations

import threading

import pytest
from sqlalchemy import event as engine_event

from relay.ledger import NewNotification, intake
from relay.model import Incoming, Kind, NewDelivery, Origin, State, Trigger, Verdict

NO_ROUTE = (NewDelivery("", "", {}, state=State.SKIPPED, reason="no route"),)


def test_a_notification_is_kept_byte_for_byte(ledger, driver):
    headers = {"content-type": "text/plain", "x-odd": "\udcff"}
    body = bytes(range(256))
    incoming = Incoming(
        "exports", body, driver.now, Origin.QUEUE, "PUT", "/hooks/exports", {}, headers
    )
    new = NewNotification(incoming, Verdict.UNREADABLE, "no \ud800 JSON", ("sns", "bare"))
    accepted = ledger.intake.accept(new, [], driver.now)
    kept = ledger.history.notification(accepted.notification_id)
    assert (kept.body, kept.headers, kept.received) == (body, headers, driver.now)
    assert (kept.source, kept.origin, kept.method) == ("exports", Origin.QUEUE, "PUT")
    assert (kept.verdict, kept.reason) == (Verdict.UNREADABLE, "no \ud800 JSON")
    assert (kept.envelopes, kept.events, kept.path) == (("sns", "bare"), 0, "/hooks/exports")


def test_a_new_event_gets_its_deliveries(ledger, driver):
    event = driver.event(version="v1", etag="e1", size=22, order="s3:01")
    accepted = driver.accept(event)
    assert (accepted.new_events, accepted.verdict) == (1, Verdict.ACCEPTED)
    (delivery_id,) = accepted.deliveries
    delivery = ledger.history.delivery(delivery_id)
    assert (delivery.kind, delivery.state, delivery.due) == (Kind.IMPORT, State.PENDING, driver.now)
    assert (delivery.route, delivery.destination) == ("exports#1", "prod")
    assert (delivery.bucket, delivery.key, delivery.version) == ("exports", "prod/a.zip", "v1")
    assert (delivery.options, delivery.channels) == ({"on_conflict": "skip"}, ("ops",))
    assert (delivery.attempts, delivery.trigger, delivery.run) == (0, Trigger.AUTOMATIC, 1)
    assert delivery.event_id == event.id_in("exports")
    assert ledger.history.event(delivery.event_id) == event


def test_an_event_without_a_route_is_skipped_and_visible(ledger, driver):
    accepted = driver.accept(driver.event(version="v1"), deliveries=NO_ROUTE)
    delivery = ledger.history.delivery(accepted.deliveries[0])
    assert (delivery.state, delivery.reason) == (State.SKIPPED, "no route")
    assert delivery.finished == driver.now
    assert driver.claim() is None


def test_the_same_event_again_is_a_duplicate_with_the_same_deliveries(ledger, driver):
    event = driver.event(version="v1")
    first = driver.accept(event)
    second = driver.accept(event)
    assert (second.new_events, second.verdict) == (0, Verdict.DUPLICATE)
    assert second.deliveries == first.deliveries
    assert ledger.history.notification(second.notification_id).verdict == Verdict.DUPLICATE
    assert ledger.history.notification(second.notification_id).events == 1


def test_repeated_objects_are_stored_in_order(ledger, driver):
    a1, a2, a3 = (driver.event("a", version=f"v{n}", etag=f"e{n % 2}") for n in (1, 2, 3))
    b1, seen = driver.event("b", version="v1"), driver.event("c", version="v1")
    driver.accept(seen, deliveries=NO_ROUTE)
    accepted = driver.accept(a1, b1, a1, seen, a2, b1, a3, seen)
    assert accepted.new_events == 4
    assert len(accepted.deliveries) == 6, "the skipped delivery, the import, and four"
    assert [ledger.history.event(event.id_in("exports")) for event in (a1, a2, a3, b1)] == [
        a1,
        a2,
        a3,
        b1,
    ]
    again = driver.accept(a1, b1, a2, a3)
    assert (again.new_events, len(again.deliveries)) == (0, 4)
    assert again.verdict == Verdict.DUPLICATE


def test_restored_content_in_a_notification_is_a_new_upload(driver):
    first, other, back = (
        driver.event(etag=etag, identity=f"etag:{etag}", order=f"hex:{number}")
        for number, etag in enumerate(("e1", "e2", "e1"))
    )
    assert driver.accept(driver.event("b"), first, other, back).new_events == 4


def test_many_records_need_few_statements(ledger, driver):
    """Only on PostgreSQL, where each statement is a network round trip."""
    if ledger._database.is_sqlite:
        pytest.skip("SQLite has no network round trips")

    def count_statements(count):
        events = [driver.event(f"{count}/{n}.zip", version="1") for n in range(count)]
        seen = []
        listener = lambda *given: seen.append(given[2])  # noqa: E731
        engine_event.listen(ledger._database._engine, "before_cursor_execute", listener)
        assert driver.accept(*events).new_events == count
        assert driver.accept(*events).new_events == 0
        engine_event.remove(ledger._database._engine, "before_cursor_execute", listener)
        return len(seen)

    assert count_statements(1000) <= count_statements(10) + 4


def test_the_same_event_twice_in_a_notification_is_stored_once(driver):
    event = driver.event(version="v1")
    accepted = driver.accept(event, event)
    assert (accepted.new_events, len(accepted.deliveries)) == (1, 1)


def test_a_notification_with_one_new_event_among_known_ones_is_accepted(driver):
    old, new = driver.event(version="v1"), driver.event(version="v2")
    driver.accept(old)
    accepted = driver.accept(old, new)
    assert (accepted.new_events, accepted.verdict) == (1, Verdict.ACCEPTED)
    assert len(accepted.deliveries) == 2


def test_an_unreadable_notification_stays_unreadable_and_its_good_events_count(ledger, driver):
    accepted = driver.accept(driver.event(version="v1"), verdict=Verdict.UNREADABLE)
    assert (accepted.new_events, accepted.verdict) == (1, Verdict.UNREADABLE)
    again = driver.accept(driver.event(version="v1"), verdict=Verdict.UNREADABLE)
    assert again.verdict == Verdict.UNREADABLE


def test_two_sources_do_not_share_events(driver):
    event = driver.event(version="v1")
    assert driver.accept(event, source="a").new_events == 1
    assert driver.accept(event, source="b").new_events == 1


@pytest.mark.parametrize(
    "key", ["a\ud800b", "nul\0", "\ufdd0d800", "中文/ö +%2B//", "", "\udcff" * 9]
)
def test_a_key_of_any_characters_comes_back_as_it_was(ledger, driver, key):
    event = driver.event(key, etag="\ud800")
    accepted = driver.accept(event)
    assert ledger.history.delivery(accepted.deliveries[0]).key == key
    assert ledger.history.event(event.id_in("exports")) == event
    found = driver.event(key, etag="\ud800", type="found", identity="x")
    assert ledger.intake.known_ids("exports", [found]) == [event.id_in("exports")]


def test_an_impossible_size_is_ignored(ledger, driver):
    for size in (10**30, -1):
        event = driver.event(f"{size}.zip", etag="e1", size=size)
        driver.accept(event)
        assert ledger.history.event(event.id_in("exports")).object.size is None


def test_a_time_without_a_time_zone_is_a_bug_not_a_failure_of_the_database(ledger, driver):
    event = driver.event(etag="e", time=driver.now.replace(tzinfo=None))
    with pytest.raises(ValueError, match="time zone"):
        driver.accept(event)
    assert ledger.history.notifications().items == ()


class TestSubmission:
    def test_a_submission_of_an_object_marked_as_seen_gets_a_delivery(self, driver):
        seen = driver.event(etag="e1", type="found", identity="x")
        driver.accept(seen, deliveries=(), origin=Origin.SCAN, verdict=Verdict.IGNORED)
        submitted = driver.accept(seen, origin=Origin.SUBMISSION)
        assert (submitted.new_events, submitted.verdict) == (0, Verdict.ACCEPTED)
        assert driver.claimed().delivery.id == submitted.deliveries[0]

    def test_a_submission_after_a_route_was_added_gets_a_delivery(self, driver):
        event = driver.event(version="v1")
        driver.accept(event, deliveries=NO_ROUTE)
        submitted = driver.accept(event, origin=Origin.SUBMISSION)
        assert len(submitted.deliveries) == 2
        assert driver.claimed().delivery.destination == "prod"

    def test_a_submission_of_a_delivered_object_gets_no_second_delivery(self, driver):
        event = driver.event(version="v1")
        first = driver.accept(event)
        again = driver.accept(event, origin=Origin.SUBMISSION)
        assert (again.deliveries, again.verdict) == (first.deliveries, Verdict.DUPLICATE)

    @pytest.mark.parametrize("origin", [Origin.HOOK, Origin.QUEUE, Origin.SUBMISSION])
    def test_an_unrouted_event_announced_twice_at_once_is_routed_once(self, driver, origin):
        event = driver.event(version="v1")
        driver.accept(event, deliveries=NO_ROUTE)
        again = driver.accept(event, event, origin=origin)
        assert len(again.deliveries) == 2, "the skipped delivery and an import"
        assert driver.accept(event, origin=origin).deliveries == again.deliveries


def test_a_hook_and_a_scan_of_an_upload_at_the_same_time_make_one_delivery(
    ledger, driver, monkeypatch
):
    """Without the lock per object, each would find no event of the other before the commit."""
    hook = driver.event(etag="e1", size=10, identity="seq:1")
    found = driver.event(etag="e1", size=10, identity="etag:e1@x", type="found")
    results = []
    scan = threading.Thread(
        target=lambda: results.append(driver.accept(found, origin=Origin.SCAN)), daemon=True
    )
    read_newest_events = intake._newest_events

    def read_while_the_scan_accepts(*arguments):
        rows = read_newest_events(*arguments)
        if scan.ident is None:
            scan.start()
            scan.join(0.5)
        return rows

    monkeypatch.setattr(intake, "_newest_events", read_while_the_scan_accepts)
    results.append(driver.accept(hook))
    scan.join(10)
    assert sum(accepted.new_events for accepted in results) == 1
    assert results[0].deliveries == results[1].deliveries
    assert sum(ledger.statistics.counts().values()) == 1
