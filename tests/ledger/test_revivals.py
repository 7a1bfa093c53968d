"""Tests of deliveries that run again because their object was seen again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from relay.config.units import RateLimit
from relay.model import Failed, Kind, Origin, Retry, Skipped, State, Trigger, Verdict

from .plans import full_scans, statements, steps

PROD = (Kind.IMPORT, "prod")


@pytest.fixture
def uploaded(driver: Any) -> Any:
    return driver.event(version="v1", etag="e1", order="s:1")


@pytest.fixture
def gone(driver: Any, uploaded: Any) -> str:
    """The id of a delivery that ended as gone, two minutes after the upload."""
    [delivery] = driver.accept(uploaded).deliveries
    driver.later(minutes=2)
    driver.finish(driver.claimed(), Skipped("gone"))
    driver.later(minutes=1)
    return str(delivery)


class TestNotifications:
    @pytest.mark.parametrize("origin", [Origin.HOOK, Origin.QUEUE])
    def test_a_redelivered_copy_revives_nothing(self, driver, gone, uploaded, origin):
        accepted = driver.accept(uploaded, origin=origin)
        assert accepted.verdict == Verdict.DUPLICATE
        assert driver.read(gone).state == State.SKIPPED

    def test_a_copy_from_a_storage_with_a_fast_clock_revives_nothing(self, driver):
        fast = driver.event(version="v1", time=driver.now + timedelta(hours=1))
        [delivery] = driver.accept(fast).deliveries
        driver.finish(driver.claimed(), Skipped("gone"))
        assert driver.accept(fast).verdict == Verdict.DUPLICATE
        assert driver.read(delivery).state == State.SKIPPED

    def test_another_notification_about_the_time_before_revives_nothing(self, driver, gone):
        """It is about the same upload, over another transport."""
        other = driver.event(version="v1", type="found", time=driver.now - timedelta(minutes=3))
        assert driver.accept(other).verdict == Verdict.DUPLICATE
        assert driver.accept(driver.event(version="v1", time=None)).verdict == Verdict.DUPLICATE
        assert driver.read(gone).state == State.SKIPPED

    def test_a_new_notification_revives_the_delivery(self, driver, gone):
        again = driver.event(version="v1", type="ObjectRestore:Completed")
        accepted = driver.accept(again)
        assert (accepted.new_events, accepted.verdict) == (0, Verdict.ACCEPTED)
        assert accepted.deliveries == (gone,)
        revived = driver.read(gone)
        assert (revived.state, revived.due, revived.run) == (State.PENDING, driver.now, 2)
        assert (revived.trigger, revived.finished, revived.reason) == (
            Trigger.AUTOMATIC,
            None,
            None,
        )
        assert driver.claimed().attempt == 1

    @pytest.mark.parametrize("ahead", [timedelta(minutes=-10), timedelta(minutes=10)])
    def test_the_clock_of_the_storage_may_differ(self, driver, ahead):
        def notify(**more):
            event = driver.event(version="v1", time=driver.now + ahead, **more)
            return driver.accept(event).deliveries

        [delivery] = notify()
        driver.later(seconds=2)
        notify(order="s:1")
        driver.later(minutes=2)
        driver.finish(driver.claimed(), Skipped("gone"))
        about_before = driver.event(
            version="v1", time=driver.now + ahead - timedelta(minutes=1), type="other"
        )
        driver.accept(about_before)
        assert driver.read(delivery).state == State.SKIPPED
        driver.later(seconds=1)
        assert notify(type="ObjectRestore:Completed") == (delivery,)
        assert driver.read(delivery).state == State.PENDING

    @pytest.mark.parametrize("outcome", [Skipped("superseded"), Skipped("unchanged"), None])
    def test_other_ends_stay(self, driver, outcome):
        driver.accept(driver.event(version="v1"))
        claim = driver.claimed()
        driver.finish(claim, outcome)
        driver.later(minutes=1)
        driver.accept(driver.event(version="v1", type="ObjectRestore:Completed"))
        ids = [driver.event(version="v1").id_in("exports")]
        assert driver.ledger.intake.listed_again(ids, driver.now) == set()
        assert driver.read(claim.delivery.id).state.finished


class TestGivenUp:
    """Relay gave up: attempts or time were used up."""

    @pytest.fixture
    def failed(self, driver, uploaded):
        """The id of a delivery whose attempts are used up."""
        [delivery] = driver.accept(uploaded).deliveries
        self.give_up(driver)
        return delivery

    def give_up(self, driver, **more):
        driver.later(minutes=1)
        driver.finish(driver.claimed(), Retry(driver.problem).last(driver.problem, **more))
        driver.later(minutes=1)

    def scan(self, driver, event):
        """Return the number of revived deliveries."""
        listed = driver.ledger.intake.listed_again([event.id_in("exports")], driver.now)
        return len(driver.ledger.intake.revive(listed, driver.now)) if listed else 0

    def test_a_scan_revives_the_delivery_once(self, driver, uploaded, failed):
        assert self.scan(driver, uploaded) == 1
        revived = driver.read(failed)
        assert (revived.state, revived.run, revived.trigger) == (
            State.PENDING,
            2,
            Trigger.AUTOMATIC,
        )
        self.give_up(driver, gave_up="time")
        assert self.scan(driver, uploaded) == 0
        assert driver.read(failed).state == State.FAILED

    def test_a_retrigger_by_a_person_allows_another_revival(self, driver, uploaded, failed):
        self.scan(driver, uploaded)
        self.give_up(driver)
        driver.ledger.retriggers.retrigger(failed, driver.now, by="page")
        self.give_up(driver)
        assert self.scan(driver, uploaded) == 1
        assert driver.read(failed).by is None

    def test_a_notification_revives_nothing(self, driver, uploaded, failed):
        driver.accept(uploaded)
        driver.accept(driver.event(version="v1", type="ObjectRestore:Completed"))
        assert driver.read(failed).state == State.FAILED

    def test_a_new_upload_is_a_new_delivery(self, driver, failed):
        [new] = driver.accept(driver.event(version="v2")).deliveries
        assert new != failed
        assert driver.read(failed).state == State.FAILED

    def test_a_refusal_is_not_revived_even_after_relay_gave_up_before(
        self, driver, uploaded, failed
    ):
        self.scan(driver, uploaded)
        driver.ledger.retriggers.retrigger(failed, driver.now)
        driver.finish(driver.claimed(), Failed(driver.problem))
        assert self.scan(driver, uploaded) == 0

    def test_gone_after_a_revival_is_revived_as_any_other(self, driver, uploaded, failed):
        self.scan(driver, uploaded)
        driver.finish(driver.claimed(), Skipped("gone"))
        driver.later(hours=1)
        assert self.scan(driver, uploaded) == 1


class TestScans:
    def test_a_listed_object_revives_the_delivery_of_any_source(self, driver, gone, uploaded):
        event_id = uploaded.id_in("exports")
        listed = driver.ledger.intake.listed_again([event_id, "another"], driver.now)
        assert listed == {event_id}
        assert driver.read(gone).state == State.SKIPPED
        assert driver.ledger.intake.revive(listed, driver.now) == [gone]
        assert driver.ledger.intake.revive(listed, driver.now) == []
        assert driver.read(gone).run == 2

    def test_the_lookup_reads_no_more_than_the_deliveries_of_the_events(self, ledger, driver):
        executed = statements(ledger, lambda: ledger.intake.listed_again(["a", "b"], driver.now))
        plan = steps(ledger, executed)
        assert not full_scans(plan)
        if ledger._database.is_sqlite:  # PostgreSQL decides by the statistics.
            assert any("ix_deliveries_event" in step for step in plan), plan

    def test_thousands_of_events_are_looked_up(self, driver, gone, uploaded):
        ids = [f"other-{number}" for number in range(2500)]
        ids.insert(2000, uploaded.id_in("exports"))
        assert len(driver.ledger.intake.listed_again(ids, driver.now)) == 1


def test_a_look_for_a_missing_object_takes_nothing_of_the_rate(driver):
    for key in ("a.zip", "b.zip"):
        driver.accept(driver.event(key, version="1"))
    rate = RateLimit(1, timedelta(hours=1))
    claim = driver.claimed(rates={PROD: rate})
    assert driver.claim(rates={PROD: rate}) is None
    missing = Retry(driver.problem, counts_as_attempt=False, missing_since=driver.now)
    due = driver.now + timedelta(seconds=30)
    assert driver.finish(claim, missing, due=due, rate=rate)
    assert driver.read(claim.delivery.id).missing_since == driver.now
    assert driver.claim(rates={PROD: rate}) is not None
