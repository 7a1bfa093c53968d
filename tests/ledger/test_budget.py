"""Tests of the budget of a delivery: what costs a try, and what takes none of the time."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import text

from relay.model import Failed, Kind, Localized, Problem, Retry, State

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
MISSING = Problem("targets.unknown", Localized("not there", "无"), Localized("add it", "请添加"))


@pytest.fixture
def delivery(driver):
    return driver.deliver_to("prod", version="1")


def finish_with(driver, outcome, due=timedelta(seconds=10), **which):
    claim = driver.claimed(**which)
    assert driver.finish(claim, outcome, due=driver.now + due)
    return driver.read(claim.delivery.id)


@pytest.mark.parametrize(
    ("more", "attempt", "waits"),
    [
        ({}, 2, 0),
        ({"destination_failing": True}, 2, 0),
        ({"retry_after": timedelta(seconds=1)}, 1, 1),
        ({"pauses_destination": True}, 1, 1),
        ({"destination_failing": True, "is_probe": True}, 1, 1),
        ({"counts_as_attempt": False, "retry_after": timedelta(seconds=1)}, 1, 0),
    ],
    ids=["failure", "destination fails", "asked", "429", "probe", "uncounted"],
)
def test_a_request_to_wait_costs_no_try(driver, delivery, more, attempt, waits):
    finish_with(driver, Retry(driver.problem, **more))
    driver.later(minutes=1)
    again = driver.claimed()
    assert (again.attempt, again.delivery.waits, again.delivery.attempts) == (attempt, waits, 2)


def test_a_destination_waits_as_long_as_it_asked_and_not_for_the_backoff_of_a_delivery(driver):
    for name in "ab":
        driver.deliver_to("prod", f"{name}.zip", version="1")
    asked = {"pauses_destination": True, "retry_after": timedelta(seconds=5)}
    finish_with(driver, Retry(driver.problem, **asked), due=3 * HOUR)
    driver.later(seconds=4)
    assert driver.claim() is None
    driver.later(seconds=1)
    finish_with(driver, Retry(driver.problem, pauses_destination=True), due=3 * HOUR)
    driver.later(seconds=59)
    driver.deliver_to("prod", "c.zip", version="1")
    assert driver.claim() is None, "it did not say how long"
    driver.later(seconds=1)
    assert driver.claim()


class TestPause:
    def pause(self, driver, hours):
        driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.now)
        driver.later(hours=hours)

    def resume(self, driver):
        driver.ledger.destinations.resume(Kind.IMPORT, "prod", driver.now)

    def test_a_pause_takes_none_of_the_time(self, driver, delivery):
        driver.later(hours=1)
        other = driver.deliver_to("test", "b.zip", version="1")
        self.pause(driver, hours=72)
        self.resume(driver)
        assert driver.read(delivery.id).tried_since == delivery.created + 72 * HOUR
        assert driver.read(other.id).tried_since == other.created

    def test_the_time_of_a_delivery_that_was_created_during_a_pause_begins_at_its_end(self, driver):
        self.pause(driver, hours=1)
        delivery = driver.deliver_to("prod", version="1")
        driver.later(hours=71)
        self.resume(driver)
        assert driver.read(delivery.id).tried_since == driver.now

    def test_several_pauses_add_up_and_a_running_delivery_counts_too(self, driver, delivery):
        claim = driver.claimed()
        for _ in range(2):
            self.pause(driver, hours=5)
            self.resume(driver)
        assert driver.retry(claim)
        assert driver.read(delivery.id).tried_since == delivery.created + 10 * HOUR

    def test_the_end_of_a_wait_or_of_an_outage_is_no_pause(self, driver, delivery):
        finish_with(driver, Retry(driver.problem, pauses_destination=True), due=HOUR)
        driver.later(hours=1)
        self.resume(driver)
        assert driver.read(delivery.id).tried_since == delivery.created

    def test_a_finished_delivery_stays_as_it_is(self, driver, delivery):
        driver.finish(driver.claimed())
        before = driver.read(delivery.id)
        self.pause(driver, hours=5)
        self.resume(driver)
        assert driver.read(delivery.id) == before


class TestNotConfigured:
    outcome = Retry(MISSING, counts_as_attempt=False, not_configured=True)

    def test_the_wait_takes_none_of_the_time(self, driver, delivery):
        """The time between two waits neither: a worker may not have been running."""
        driver.later(hours=1)
        finish_with(driver, self.outcome, due=timedelta(minutes=1))
        driver.later(hours=5)
        finish_with(driver, self.outcome, due=timedelta(minutes=1))
        driver.later(minutes=1)
        assert driver.now - driver.read(delivery.id).tried_since == HOUR

    def test_the_time_before_the_first_wait_counts(self, driver, delivery):
        finish_with(driver, Retry(driver.problem), due=HOUR)
        driver.later(hours=2)
        finish_with(driver, self.outcome, due=timedelta(minutes=1))
        assert driver.now - driver.read(delivery.id).tried_since == 2 * HOUR - timedelta(minutes=1)


class TestOverdue:
    """Deliveries whose time ends while they have to wait."""

    def overdue(self, driver, kind=Kind.IMPORT):
        return driver.ledger.queue.claim_overdue("w1", HOUR, driver.now - 2 * DAY, driver.now, kind)

    def take_down(self, driver):
        for number in range(10):
            driver.deliver_to("prod", f"{number}.zip", version="1")
            claim = driver.claimed()
            failing = Failed(driver.problem, destination_failing=True)
            driver.finish(claim, failing)

    def test_a_delivery_that_is_due_later_is_claimed_when_its_time_is_over(self, driver, delivery):
        finish_with(driver, Retry(driver.problem, retry_after=3 * DAY), due=3 * DAY)
        driver.later(days=2, microseconds=-1)
        assert self.overdue(driver) is None
        driver.later(microseconds=1)
        assert self.overdue(driver, Kind.MESSAGE) is None
        claim = self.overdue(driver)
        assert (claim.delivery.id, claim.is_overdue) == (delivery.id, True)
        assert self.overdue(driver) is None
        assert driver.finish(claim, Failed(driver.problem, gave_up="time"))
        assert driver.read(delivery.id).gave_up == "time"

    def test_a_delivery_of_a_destination_that_is_down_is_claimed(self, driver):
        self.take_down(driver)
        waiting = driver.deliver_to("prod", "waiting.zip", version="1")
        driver.later(days=2)
        assert self.overdue(driver).delivery.id == waiting.id

    def test_a_delivery_of_a_destination_that_asked_to_wait_is_claimed(self, driver, delivery):
        other = driver.deliver_to("prod", "b.zip", version="1")
        asked = Retry(driver.problem, retry_after=5 * DAY, pauses_destination=True)
        finish_with(driver, asked, due=5 * DAY, only=delivery.id)
        driver.later(days=2)
        assert {self.overdue(driver).delivery.id, self.overdue(driver).delivery.id} == {
            delivery.id,
            other.id,
        }

    def test_a_delivery_that_can_be_tried_is_not_claimed(self, driver, delivery):
        driver.later(days=5)
        assert self.overdue(driver) is None
        assert driver.claimed().delivery.id == delivery.id
        driver.later(days=5)
        assert self.overdue(driver) is None, "it is running"

    def test_no_delivery_of_a_paused_destination_is_claimed(self, driver):
        self.take_down(driver)
        driver.deliver_to("prod", "waiting.zip", version="1")
        driver.ledger.destinations.pause(Kind.IMPORT, "prod", driver.now)
        driver.later(days=9)
        assert self.overdue(driver) is None


def test_a_retrigger_starts_a_new_budget(ledger, driver, delivery):
    finish_with(driver, Retry(driver.problem, retry_after=HOUR))
    driver.later(minutes=1)
    finish_with(driver, Failed(driver.problem, gave_up="attempts"))
    assert driver.read(delivery.id).gave_up == "attempts"
    driver.later(days=9)
    again = ledger.retriggers.retrigger(delivery.id, driver.now)
    assert (again.waits, again.tried_since, again.gave_up) == (0, driver.now, None)


def test_a_retrigger_of_a_pending_delivery_starts_a_new_budget(ledger, driver, delivery):
    finish_with(driver, Retry(driver.problem), due=HOUR)
    driver.later(minutes=5)
    again = ledger.retriggers.retrigger(delivery.id, driver.now)
    assert (again.state, again.waits, again.tried_since) == (State.PENDING, 0, driver.now)
    assert driver.claimed().attempt == 1


def test_a_refusal_is_not_marked_as_given_up(driver, delivery):
    assert finish_with(driver, Failed(driver.problem)).gave_up is None


def test_a_row_of_a_process_of_the_previous_version_has_a_full_budget(ledger, driver, delivery):
    """Its statements do not name the new columns."""
    with ledger._database.write() as connection:
        names = "id, kind, state, source, route, bucket, key, destination, created, attempts, tries"
        more = "run, trigger, fence, options, channels, due"
        connection.execute(
            text(
                f"INSERT INTO deliveries ({names}, {more}) SELECT 'old', kind, state, source, "
                "route, bucket, 'old.zip', destination, created, attempts, tries, run, trigger, "
                "fence, options, channels, due FROM deliveries"
            )
        )
    old = driver.read("old")
    assert (old.waits, old.tried_since, old.gave_up) == (0, old.created, None)
