"""After the clock was turned back: what waits is due when it should have been."""

from __future__ import annotations

from datetime import timedelta

from relay.model import Kind

HOUR = timedelta(hours=1)


def test_what_was_stored_by_the_wrong_clock_is_due_at_once(hands, ledger):
    hands.deliver_to("prod", version="1")
    hands.now -= HOUR
    assert hands.claim() is None
    ledger.queue.shift_due_times(HOUR, hands.now)
    hands.claimed()


def test_a_retry_waits_as_long_as_it_should(hands, ledger):
    hands.deliver_to("prod", version="1")
    hands.retry(hands.claimed(), seconds=60)
    hands.now -= HOUR
    ledger.queue.shift_due_times(HOUR, hands.now)
    hands.later(seconds=59)
    assert hands.claim() is None
    hands.later(seconds=2)
    hands.claimed()


def test_a_destination_that_wanted_time_gets_no_more_than_that(hands, ledger):
    hands.deliver_to("prod", "a.zip", version="1")
    hands.retry(hands.claimed(), seconds=60, hold=True)
    hands.now -= HOUR
    ledger.queue.shift_due_times(HOUR, hands.now)
    [gate] = ledger.destinations.all()
    assert gate.until == hands.now + timedelta(seconds=60)
    hands.later(seconds=61)
    hands.claimed(kind=Kind.IMPORT)


def test_what_is_due_already_and_who_runs_stay_as_they_are(hands, ledger):
    hands.deliver_to("prod", "a.zip", version="1")
    running = hands.claimed()
    due = hands.deliver_to("prod", "b.zip", version="1")
    ledger.queue.shift_due_times(HOUR, hands.now)
    assert hands.read(due.id).due == due.due
    assert hands.finish(running)
