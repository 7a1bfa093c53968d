"""After the clock was turned back: what waits is due when it should have been."""

from __future__ import annotations

from datetime import timedelta

from relay.model import Kind

HOUR = timedelta(hours=1)


def test_what_was_stored_by_the_wrong_clock_is_due_at_once(driver, ledger):
    driver.deliver_to("prod", version="1")
    driver.now -= HOUR
    assert driver.claim() is None
    ledger.queue.shift_due_times(HOUR, driver.now)
    driver.claimed()


def test_a_retry_waits_as_long_as_it_should(driver, ledger):
    driver.deliver_to("prod", version="1")
    driver.retry(driver.claimed(), seconds=60)
    driver.now -= HOUR
    ledger.queue.shift_due_times(HOUR, driver.now)
    driver.later(seconds=59)
    assert driver.claim() is None
    driver.later(seconds=2)
    driver.claimed()


def test_a_destination_that_wanted_time_gets_no_more_than_that(driver, ledger):
    driver.deliver_to("prod", "a.zip", version="1")
    driver.retry(driver.claimed(), seconds=60, hold=True)
    driver.now -= HOUR
    ledger.queue.shift_due_times(HOUR, driver.now)
    [gate] = ledger.destinations.all()
    assert gate.until == driver.now + timedelta(seconds=60)
    driver.later(seconds=61)
    driver.claimed(kind=Kind.IMPORT)


def test_what_is_due_already_and_who_runs_stay_as_they_are(driver, ledger):
    driver.deliver_to("prod", "a.zip", version="1")
    running = driver.claimed()
    due = driver.deliver_to("prod", "b.zip", version="1")
    ledger.queue.shift_due_times(HOUR, driver.now)
    assert driver.read(due.id).due == due.due
    assert driver.finish(running)
