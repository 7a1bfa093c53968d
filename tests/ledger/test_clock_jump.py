"""Tests of shifting due times after the clock was set back."""

from __future__ import annotations

from datetime import timedelta

from relay.model import Kind

HOUR = timedelta(hours=1)


def test_a_delivery_stored_with_the_wrong_clock_is_due_at_once(driver, ledger):
    driver.deliver_to("prod", version="1")
    driver.now -= HOUR
    assert driver.claim() is None
    ledger.queue.shift_due_times(HOUR, driver.now)
    driver.claimed()


def test_a_retry_waits_as_long_as_planned(driver, ledger):
    driver.deliver_to("prod", version="1")
    driver.retry(driver.claimed(), seconds=60)
    driver.now -= HOUR
    ledger.queue.shift_due_times(HOUR, driver.now)
    driver.later(seconds=59)
    assert driver.claim() is None
    driver.later(seconds=2)
    driver.claimed()


def test_a_hold_of_a_destination_is_not_extended(driver, ledger):
    driver.deliver_to("prod", "a.zip", version="1")
    driver.retry(driver.claimed(), seconds=60, pauses_destination=True)
    driver.now -= HOUR
    ledger.queue.shift_due_times(HOUR, driver.now)
    [gate] = ledger.destinations.all()
    assert gate.until == driver.now + timedelta(seconds=60)
    driver.later(seconds=61)
    driver.claimed(kind=Kind.IMPORT)


def test_due_and_running_deliveries_do_not_change(driver, ledger):
    driver.deliver_to("prod", "a.zip", version="1")
    running = driver.claimed()
    due = driver.deliver_to("prod", "b.zip", version="1")
    ledger.queue.shift_due_times(HOUR, driver.now)
    assert driver.read(due.id).due == due.due
    assert driver.finish(running)
